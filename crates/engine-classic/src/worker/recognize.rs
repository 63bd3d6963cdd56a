//! The recognition worker: one decoder for one direction of one call.

use std::io;

use kallglot_engine::{SAMPLE_RATE_HZ, UtteranceId};

use super::Pipe;
use crate::frame::{Frame, Garbled};
use crate::protocol::{FromRecognizer, PROGRESS_SAMPLES, RecognizerSetup, ToRecognizer};
use crate::sphinx::{self, Decoder, DecoderConfig, Fixes};

/// What the decoder is given at a time: 20 ms, as it comes in a call, so that a backlog is decoded no differently from live audio.
const PIECE_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 50;

struct Utterance {
    id: UtteranceId,
    /// Samples decoded since the last look.
    unreported: usize,
    partial: String,
}

pub(super) fn run(mut pipe: Pipe) -> io::Result<()> {
    let Some(first) = pipe.receive()? else { return Ok(()) };
    let setup = match first.message().map_err(io::Error::other)? {
        ToRecognizer::Open(setup) => setup,
        ToRecognizer::Survey => return pipe.send(&FromRecognizer::Languages { languages: sphinx::available() }),
        _ => return Err(io::Error::other(Garbled::Message)),
    };
    let mut decoder = match Decoder::open(&config(setup)) {
        Ok(decoder) => decoder,
        Err(error) => return pipe.send(&FromRecognizer::Refused { reason: error.to_string() }),
    };
    pipe.send(&FromRecognizer::Ready)?;
    let mut open: Option<Utterance> = None;
    while let Some(frame) = pipe.receive()? {
        match (&frame, &mut open) {
            (Frame::Audio(samples), Some(utterance)) => hear(&mut pipe, &mut decoder, utterance, samples)?,
            (Frame::Audio(_), None) => {}
            (Frame::Control(_), open) => match frame.message().map_err(io::Error::other)? {
                ToRecognizer::Open(_) | ToRecognizer::Survey => return Err(io::Error::other(Garbled::Message)),
                ToRecognizer::Begin { utterance } => {
                    if open.is_some() {
                        decoder.end();
                    }
                    decoder.begin();
                    *open = Some(Utterance { id: utterance, unreported: 0, partial: String::new() });
                }
                ToRecognizer::End => {
                    if let Some(utterance) = open.take() {
                        let heard = decoder.end();
                        pipe.send(&FromRecognizer::Final {
                            utterance: utterance.id,
                            text: heard.text,
                            confidence: heard.confidence,
                            phrase: heard.phrase,
                        })?;
                    }
                }
            },
        }
    }
    Ok(())
}

fn hear(pipe: &mut Pipe, decoder: &mut Decoder, utterance: &mut Utterance, mut samples: &[i16]) -> io::Result<()> {
    while !samples.is_empty() {
        let (now, later) = samples.split_at(samples.len().min(PROGRESS_SAMPLES - utterance.unreported));
        now.chunks(PIECE_SAMPLES).for_each(|piece| decoder.push(piece));
        utterance.unreported += now.len();
        samples = later;
        if utterance.unreported == PROGRESS_SAMPLES {
            utterance.unreported = 0;
            if let Some(text) = decoder.partial()
                && text != utterance.partial
            {
                pipe.send(&FromRecognizer::Partial { utterance: utterance.id, text: text.clone() })?;
                utterance.partial = text;
            }
            pipe.send(&FromRecognizer::Heard { utterance: utterance.id, samples: PROGRESS_SAMPLES })?;
        }
    }
    Ok(())
}

fn config(setup: RecognizerSetup) -> DecoderConfig {
    DecoderConfig {
        language: setup.language,
        phrases: setup.phrases,
        words: setup.words,
        phrases_only: setup.phrases_only,
        fixes: Fixes::default(),
    }
}
