//! What a rule-based translator gets wrong although everybody says it: greetings, thanks, and what is said on the phone.
//!
//! What must stay true: a phrase is used only when it is the whole sentence, or a greeting or thanks at its edge; everything
//! else goes to the translator untouched.

use super::{capitalized, numbers, plain, uncapitalized};

/// English, Spanish. Variants are separated by `|`; the first is what is said, all are understood.
const PHRASES: &[(&str, &str)] = &[
    // Greetings.
    ("Hello|Hi|Hey", "Hola"),
    ("Hello|Hello there|Hi there", "Hola|Aló|Diga|Dígame"),
    ("Good morning", "Buenos días|Buen día"),
    ("Good afternoon", "Buenas tardes"),
    ("Good evening|Good night", "Buenas noches"),
    ("Goodbye|Bye|Bye bye|Good bye", "Adiós|Chao|Chau"),
    ("See you later", "Hasta luego"),
    ("See you tomorrow", "Hasta mañana"),
    ("See you soon", "Hasta pronto"),
    ("Have a nice day|Have a good day|Have a great day", "Que tenga un buen día|Que tenga buen día"),
    ("How are you?|How are you doing?|How do you do?", "¿Cómo está?|¿Cómo está usted?|¿Qué tal?"),
    ("I'm fine, thank you|I am fine, thank you|Fine, thank you|Fine, thanks", "Bien, gracias|Estoy bien, gracias"),
    ("Nice to meet you|Pleased to meet you", "Mucho gusto|Encantado de conocerle|Encantado"),
    ("Welcome", "Bienvenido|Bienvenidos|Bienvenida"),
    // Courtesies.
    ("Please", "Por favor"),
    ("Thank you|Thanks", "Gracias"),
    ("Thank you very much|Thanks a lot|Thank you so much|Many thanks", "Muchas gracias|Muchísimas gracias"),
    ("You're welcome|You are welcome|My pleasure", "De nada|No hay de qué"),
    ("No problem|It's no problem|Not a problem", "No hay problema|Ningún problema"),
    ("Excuse me|Pardon me", "Disculpe|Perdone"),
    ("I'm sorry|I am sorry|Sorry", "Lo siento|Perdón"),
    ("I'm very sorry|I am very sorry|I'm so sorry", "Lo siento mucho"),
    ("Don't worry|Never mind", "No se preocupe"),
    ("Of course|Sure|Certainly", "Por supuesto|Claro|Claro que sí"),
    // Yes and no.
    ("Yes|Yeah|Yep", "Sí"),
    ("No|Nope", "No"),
    ("Yes, please", "Sí, por favor"),
    ("No, thank you|No, thanks", "No, gracias"),
    ("Okay|OK|All right|Alright", "De acuerdo|Vale|Está bien"),
    ("That's right|That is right|That's correct|Correct", "Así es|Correcto|Es correcto"),
    ("Maybe|Perhaps", "Quizás|Tal vez|Quizá"),
    ("I agree", "Estoy de acuerdo"),
    ("I don't know|I do not know", "No lo sé|No sé"),
    ("I don't think so", "No lo creo|Creo que no"),
    ("I think so", "Creo que sí"),
    ("Perfect", "Perfecto"),
    ("Great|Excellent", "Excelente|Estupendo"),
    // Understanding each other.
    ("I understand|I see", "Entiendo|Comprendo"),
    ("I don't understand|I do not understand", "No entiendo|No comprendo"),
    ("Do you understand?", "¿Entiende?|¿Me entiende?"),
    (
        "Could you repeat that, please?|Can you repeat that, please?|Could you repeat that?|Can you repeat that?",
        "¿Podría repetirlo, por favor?|¿Puede repetirlo, por favor?|¿Puede repetir?|¿Puede repetirlo?",
    ),
    (
        "Could you speak more slowly, please?|Please speak more slowly|Could you speak more slowly?",
        "¿Podría hablar más despacio, por favor?|¿Puede hablar más despacio?|Más despacio, por favor",
    ),
    ("Do you speak English?", "¿Habla inglés?"),
    ("Do you speak Spanish?", "¿Habla español?"),
    ("I don't speak Spanish", "No hablo español"),
    ("I don't speak English", "No hablo inglés"),
    ("Can you hear me?|Do you hear me?", "¿Me oye?|¿Puede oírme?|¿Me escucha?"),
    ("I can't hear you|I cannot hear you", "No le oigo|No lo oigo|No le escucho"),
    ("I can hear you", "Le oigo|Le oigo bien"),
    (
        "Could you spell that, please?|Can you spell that?|Could you spell that?",
        "¿Podría deletrearlo, por favor?|¿Puede deletrearlo?",
    ),
    ("What did you say?", "¿Qué ha dicho?|¿Qué dijo?"),
    // On the phone.
    (
        "How can I help you?|How may I help you?|What can I do for you?",
        "¿En qué puedo ayudarle?|¿En qué le puedo ayudar?",
    ),
    ("How can I help you today?|How may I help you today?", "¿En qué puedo ayudarle hoy?"),
    ("Can you help me?|Could you help me?", "¿Me puede ayudar?|¿Puede ayudarme?|¿Podría ayudarme?"),
    ("I need help", "Necesito ayuda"),
    ("Who is calling?|Who's calling?|Who is speaking?", "¿Quién llama?|¿De parte de quién?|¿Con quién hablo?"),
    ("One moment, please|Just a moment, please|One moment|Just a moment", "Un momento, por favor|Un momento"),
    (
        "Please hold|Please hold on|Please wait|Hold on, please|Hold the line, please",
        "Espere, por favor|Por favor, espere|Un segundo, por favor",
    ),
    ("Please stay on the line|Stay on the line, please", "Por favor, no cuelgue|No cuelgue, por favor|No cuelgue"),
    ("Thank you for calling|Thanks for calling", "Gracias por llamar|Gracias por su llamada"),
    ("Thank you for waiting|Thank you for holding", "Gracias por esperar|Gracias por la espera"),
    ("Thank you for your help", "Gracias por su ayuda"),
    ("Thank you for your patience", "Gracias por su paciencia"),
    (
        "I'll transfer you now|I will transfer you now|I am transferring you now",
        "Le paso ahora mismo|Le transfiero ahora",
    ),
    (
        "I'd like to speak to an agent|I want to speak to an agent",
        "Quisiera hablar con un agente|Quiero hablar con un agente",
    ),
    (
        "What is your name?|What's your name?|May I have your name?|Can I have your name?",
        "¿Cómo se llama?|¿Cuál es su nombre?|¿Me dice su nombre?",
    ),
    (
        "What is your phone number?|What's your phone number?|What is your telephone number?",
        "¿Cuál es su número de teléfono?",
    ),
    ("What is your address?|What's your address?", "¿Cuál es su dirección?"),
    ("What is your email address?|What's your email address?|What is your email?", "¿Cuál es su correo electrónico?"),
    ("What is your date of birth?|What's your date of birth?", "¿Cuál es su fecha de nacimiento?"),
    ("What is your account number?|What's your account number?", "¿Cuál es su número de cuenta?"),
    ("What is your order number?|What's your order number?", "¿Cuál es su número de pedido?"),
    (
        "Is there anything else?|Anything else?|Is there anything else I can help you with?|Can I help you with anything else?",
        "¿Algo más?|¿Puedo ayudarle en algo más?|¿Necesita algo más?",
    ),
    ("That's all|That is all|That's it|Nothing else", "Eso es todo|Nada más"),
    ("I'll call you back|I will call you back|I'll call back later", "Le vuelvo a llamar|Le llamo luego"),
    ("Please call back later", "Por favor, vuelva a llamar más tarde|Llame más tarde, por favor"),
    (
        "Leave a message after the tone|Please leave a message after the tone",
        "Deje su mensaje después de la señal|Por favor, deje su mensaje después de la señal",
    ),
    ("Wrong number|You have the wrong number", "Se ha equivocado de número|Número equivocado"),
    ("How much does it cost?|How much is it?|How much is that?", "¿Cuánto cuesta?|¿Cuánto es?|¿Cuánto vale?"),
    ("What time is it?", "¿Qué hora es?"),
    ("Where are you?", "¿Dónde está?|¿Dónde está usted?"),
    ("It's urgent|It is urgent", "Es urgente"),
    ("It doesn't work|It is not working|It's not working", "No funciona"),
    ("I have a problem", "Tengo un problema"),
    ("I have a question", "Tengo una pregunta"),
    // Days and times.
    ("Monday", "Lunes"),
    ("Tuesday", "Martes"),
    ("Wednesday", "Miércoles"),
    ("Thursday", "Jueves"),
    ("Friday", "Viernes"),
    ("Saturday", "Sábado"),
    ("Sunday", "Domingo"),
    ("Today", "Hoy"),
    ("Tomorrow", "Mañana"),
    ("Yesterday", "Ayer"),
    ("Now|Right now", "Ahora|Ahora mismo"),
    ("Later", "Más tarde|Luego"),
    ("In the morning", "Por la mañana"),
    ("In the afternoon", "Por la tarde"),
    ("Tomorrow morning", "Mañana por la mañana"),
    ("Next week", "La semana que viene|La próxima semana"),
];

/// What may begin a sentence without changing its rest: English, Spanish.
const OPENINGS: &[(&str, &str)] = &[
    ("good morning", "buenos días"),
    ("good afternoon", "buenas tardes"),
    ("good evening", "buenas noches"),
    ("excuse me", "disculpe"),
    ("i'm very sorry", "lo siento mucho"),
    ("i'm sorry", "lo siento"),
    ("hello", "hola"),
    ("hi", "hola"),
    ("yes", "sí"),
    ("no", "no"),
    ("okay", "de acuerdo"),
];
/// What may end one.
const CLOSINGS: &[(&str, &str)] =
    &[("thank you very much", "muchas gracias"), ("thank you", "gracias"), ("please", "por favor")];
/// Words that go with what is before them ("sorry to hear", "yes of course").
const CLINGING: [&str; 9] = ["to", "for", "about", "if", "that", "of", "and", "but", "or"];
/// What comes after a "no" that is an answer, not a part of what follows ("no one", "no problem").
const AFTER_NO: [&str; 15] =
    ["i", "i'm", "i'll", "i've", "i'd", "you", "he", "she", "it", "it's", "we", "they", "that's", "there", "thank"];

/// How many bytes longer than a phrase its spelling in a sentence may be: punctuation, double blanks.
const EDGE_BYTES: usize = 8;

/// What the phrasebook knows about a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// The whole of it.
    Whole(String),
    /// What stands around the part that the translator has to do.
    Around { before: String, rest: String, after: String },
}

/// Looks a sentence up. Languages are primary subtags.
pub(crate) fn translate(sentence: &str, from: &str, to: &str) -> Option<Known> {
    let english_first = match (from, to) {
        ("en", "es") => true,
        ("es", "en") => false,
        _ => return None,
    };
    let said = plain(sentence);
    if let Some(whole) = phrase(&said, english_first) {
        return Some(Known::Whole(ended(whole)));
    }
    if let Some(numbers) = numbers::translate(&said, from, to) {
        return Some(Known::Whole(ended(&capitalized(&numbers))));
    }
    around(sentence, english_first)
}

/// Cuts a sentence after a phrase that it begins with and that can stand for itself: people don't pause where they should.
pub(crate) fn split<'a>(sentence: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let english_first = match (from, to) {
        ("en", "es") => true,
        ("es", "en") => false,
        _ => return vec![sentence],
    };
    let variants = PHRASES
        .iter()
        .flat_map(|(english, spanish)| if english_first { english.split('|') } else { spanish.split('|') });
    let said = plain(sentence);
    let begins = variants
        .filter(|variant| variant.split(' ').count() >= 3 && said.starts_with(&plain(variant)))
        .filter_map(|variant| prefix(sentence, variant))
        .max();
    let Some((phrase, rest)) = begins.and_then(|length| sentence.split_at_checked(length)) else {
        return vec![sentence];
    };
    let rest =
        rest.trim_start_matches(|character: char| !character.is_alphanumeric() && character != '¿' && character != '¡');
    let words = plain(rest);
    let clings = words.split(' ').next().is_some_and(|next| CLINGING.contains(&next));
    if words.split(' ').count() < 3 || clings { vec![sentence] } else { vec![phrase, rest] }
}

/// Puts a translated rest between what stands around it.
pub(crate) fn join(before: &str, rest: &str, after: &str) -> String {
    let mut sentence = rest.to_owned();
    if !after.is_empty() {
        let end = sentence.trim_end_matches(['.', '?', '!']).len();
        sentence.insert_str(end, &format!(", {after}"));
    }
    if !before.is_empty() {
        let keeps_capital = ["I ", "I'", "I,"].iter().any(|start| sentence.starts_with(start));
        let sentence_inside = if keeps_capital { sentence } else { uncapitalized(&sentence) };
        sentence = format!("{}, {sentence_inside}", capitalized(before));
    }
    sentence
}

fn phrase(said: &str, english_first: bool) -> Option<&'static str> {
    PHRASES.iter().find_map(|(english, spanish)| {
        let (from, to) = if english_first { (english, spanish) } else { (spanish, english) };
        from.split('|').any(|variant| plain(variant) == said).then(|| to.split('|').next().unwrap_or(to))
    })
}

fn ended(text: &str) -> String {
    if text.ends_with(char::is_alphanumeric) { format!("{text}.") } else { text.to_owned() }
}

fn around(sentence: &str, english_first: bool) -> Option<Known> {
    let side = |(english, spanish): &(&'static str, &'static str)| {
        if english_first { (*english, *spanish) } else { (*spanish, *english) }
    };
    let mut rest = sentence.trim();
    let mut before = String::new();
    let mut after = String::new();
    let opening = OPENINGS.iter().map(side).find_map(|(from, to)| Some((prefix(rest, from)?, from, to)));
    if let Some((length, said, meant)) = opening {
        let after = rest[length..].trim_start_matches([',', ' ', '.', '!']);
        let next = plain(after).split(' ').next().unwrap_or_default().to_owned();
        let answers = said != "no" || AFTER_NO.contains(&next.as_str());
        if answers && !CLINGING.contains(&next.as_str()) {
            before = meant.to_owned();
            rest = after;
        }
    }
    let end = rest.len() - rest.trim_end_matches(['.', '?', '!', ' ']).len();
    let (body, mark) = rest.split_at(rest.len() - end);
    let mut body = body.to_owned();
    if let Some((start, said)) = CLOSINGS.iter().map(side).find_map(|(from, to)| Some((suffix(&body, from)?, to))) {
        after = said.to_owned();
        body.truncate(body[..start].trim_end_matches([',', ' ']).len());
    }
    let words = body.split_whitespace().count();
    // One word alone says too little to be translated for itself ("yes sir", "please hold").
    if (before.is_empty() && after.is_empty()) || words < 2 {
        return None;
    }
    let rest = format!("{body}{}", mark.trim_end());
    Some(match phrase(&plain(&rest), english_first) {
        Some(known) => Known::Whole(join(&before, &ended(known), &after)),
        None => Known::Around { before, rest, after },
    })
}

/// How many bytes of the text are the phrase and end at a word's end.
fn prefix(text: &str, phrase: &str) -> Option<usize> {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= phrase.len() + EDGE_BYTES);
    let end = { ends }.find(|end| plain(&text[..*end]) == plain(phrase))?;
    text[end..].chars().next().is_none_or(|next| !next.is_alphanumeric() && next != '\'').then_some(end)
}

/// Where the phrase begins that the text ends with.
fn suffix(text: &str, phrase: &str) -> Option<usize> {
    let starts =
        text.char_indices().rev().map(|(at, _)| at).take_while(|at| text.len() - at <= phrase.len() + EDGE_BYTES);
    let start = { starts }.find(|at| plain(&text[*at..]) == plain(phrase))?;
    text[..start].chars().next_back().is_some_and(|before| before.is_whitespace() || before == ',').then_some(start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(sentence: &str, from: &str, to: &str) -> String {
        match translate(sentence, from, to) {
            Some(Known::Whole(text)) => text,
            other => panic!("{sentence}: {other:?}"),
        }
    }

    #[test]
    fn common_phrases_are_known_both_ways() {
        assert_eq!(whole("how can i help you", "en", "es"), "¿En qué puedo ayudarle?");
        assert_eq!(whole("Thanks!", "en", "es"), "Gracias.");
        assert_eq!(whole("buenos dias", "es", "en"), "Good morning.");
        assert_eq!(whole("No, gracias.", "es", "en"), "No, thank you.");
        assert_eq!(whole("five five one", "en", "es"), "Cinco cinco uno.");
    }

    #[test]
    fn a_greeting_or_thanks_at_the_edge_is_taken_off_and_put_back() {
        let Some(Known::Around { before, rest, after }) =
            translate("Hello, I would like to pay, thank you.", "en", "es")
        else {
            panic!("not known");
        };
        assert_eq!(rest, "I would like to pay.");
        assert_eq!(join(&before, "Me gustaría pagar.", &after), "Hola, me gustaría pagar, gracias.");
        assert_eq!(join("yes", "I want it.", ""), "Yes, I want it.");
    }

    #[test]
    fn a_known_phrase_after_a_greeting_is_known_too() {
        assert_eq!(whole("hello could you help me please", "en", "es"), "Hola, ¿me puede ayudar, por favor?");
        assert_eq!(whole("yes i understand", "en", "es"), "Sí, entiendo.");
    }

    #[test]
    fn phrases_that_run_into_each_other_are_cut_apart() {
        assert_eq!(
            split("thank you for calling how can i help you", "en", "es"),
            ["thank you for calling", "how can i help you"]
        );
        for whole in
            ["thank you for calling", "thank you for calling us", "what time is it now in spain", "the door is open"]
        {
            assert!(split(whole, "en", "es").concat().len() >= whole.len() - 1, "{whole}");
        }
        assert_eq!(split("thank you for calling us", "en", "es").len(), 1);
    }

    #[test]
    fn anything_else_is_left_to_the_translator() {
        for sentence in [
            "the door is open",
            "highway one",
            "pleased customers",
            "no one called",
            "i'm sorry to hear that",
            "please",
            "",
        ] {
            assert!(!matches!(translate(sentence, "en", "es"), Some(Known::Around { .. })), "{sentence}");
        }
        assert_eq!(translate("hello", "en", "ca"), None);
    }

    #[test]
    fn every_phrase_is_found_by_each_of_its_variants() {
        for (english, spanish) in PHRASES {
            for variant in english.split('|') {
                assert!(phrase(&plain(variant), true).is_some());
            }
            for variant in spanish.split('|') {
                assert!(phrase(&plain(variant), false).is_some());
            }
        }
    }

    proptest! {
        #[test]
        fn any_sentence_is_taken(sentence in any::<String>()) {
            translate(&sentence, "en", "es");
            translate(&sentence, "es", "en");
        }
    }
}
