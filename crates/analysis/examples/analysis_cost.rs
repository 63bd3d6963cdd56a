//! What an analysis costs: `cargo run --release -p kallglot-analysis --example analysis_cost [minutes]`. A call of an hour unless told.
//!
//! The call is made of sentences that differ, in two languages with translations, at the pace of a real one.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example that prints what it measures")]

use std::time::Instant;

use kallglot_analysis::{Call, Part, Profile, analyse};
use kallglot_core::Timestamp;
use kallglot_core::id::SegmentId;
use kallglot_core::session::{Speaker, Translation, Turn};
use serde_json::json;

const THINGS: [&str; 12] = [
    "heating",
    "invoice",
    "breakfast",
    "reservation",
    "shower",
    "parking space",
    "train ticket",
    "credit card",
    "late checkout",
    "airport transfer",
    "window",
    "refund",
];
const COSAS: [&str; 12] = [
    "calefacción",
    "factura",
    "desayuno",
    "reserva",
    "ducha",
    "plaza de aparcamiento",
    "billete de tren",
    "tarjeta de crédito",
    "salida tardía",
    "traslado al aeropuerto",
    "ventana",
    "devolución",
];

fn turn(number: u32) -> Turn {
    let (thing, cosa) = (THINGS[number as usize % 12], COSAS[number as usize % 12]);
    let agent = number.is_multiple_of(2);
    let english = format!(
        "The {thing} of room {} is {}, and I would like to know what we can do about it before {} o'clock.",
        100 + number % 90,
        if number.is_multiple_of(5) { "not working" } else { "ready" },
        1 + number % 11
    );
    let spanish = format!(
        "La {cosa} de la habitación {} {}, y me gustaría saber qué podemos hacer antes de las {}.",
        100 + number % 90,
        if number.is_multiple_of(5) { "no funciona" } else { "está lista" },
        1 + number % 11
    );
    let (language, text, other, translation) =
        if agent { ("en", english, "es", spanish) } else { ("es", spanish, "en", english) };
    let start_ms = u64::from(number) * 7_000;
    Turn {
        sequence: number + 1,
        id: SegmentId::from_bits(number.into()),
        speaker: if agent { Speaker::Agent } else { Speaker::Customer },
        language: language.parse().unwrap(),
        text,
        translation: Some(Translation { language: other.parse().unwrap(), text: translation }),
        timestamp: Timestamp::UNIX_EPOCH,
        start_ms,
        end_ms: start_ms + 6_000,
        confidence: 0.9,
    }
}

fn main() {
    let minutes: u32 = std::env::args().nth(1).map_or(60, |text| text.parse().unwrap());
    let turns: Vec<Turn> = (0..minutes * 60 / 7).map(turn).collect();
    let words: usize = turns.iter().map(|turn| turn.text.split_whitespace().count()).sum();
    println!("{minutes} minutes: {} turns, {words} words", turns.len());
    let call = Call { turns: &turns, lags: &[], end_ms: Some(u64::from(minutes) * 60_000) };
    let rules: Vec<_> = (0..100)
        .map(|number| {
            let phrases: Vec<_> =
                (0..10).map(|other| format!("the {} is phrase {number} {other}", THINGS[other % 12])).collect();
            json!({ "id": format!("rule{number}"), "kind": "must_not_say", "phrases": phrases })
        })
        .collect();
    let profile = Profile::parse(&json!(rules)).unwrap();
    // Once for what is set up once.
    analyse(&call, Part::ALL, Some(&profile));
    for part in Part::ALL.iter().map(std::slice::from_ref).chain([Part::ALL]) {
        let began = Instant::now();
        let analysis = analyse(&call, part, Some(&profile));
        let names: Vec<_> = part.iter().map(|part| part.as_str()).collect();
        println!("{:>8.1} ms  {}", began.elapsed().as_secs_f64() * 1e3, names.join(" + "));
        drop(analysis);
    }
}
