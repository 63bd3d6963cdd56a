//! Calls to analyse.

use kallglot_analysis::{Analysis, Call, Part, Profile, analyse};
use kallglot_core::Timestamp;
use kallglot_core::id::SegmentId;
use kallglot_core::session::{Speaker, Translation, Turn};

/// A call that is written down line by line.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) turns: Vec<Turn>,
    clock_ms: u64,
}

impl Script {
    /// Somebody says something for `seconds`, half a second after what was said before.
    pub(crate) fn says(self, speaker: Speaker, language: &str, text: &str, translation: Option<(&str, &str)>) -> Self {
        let from = self.clock_ms + 500;
        let to = from + 300 * text.split_whitespace().count() as u64;
        self.says_at(speaker, language, text, translation, from, to)
    }

    /// Somebody says something between two times, in ms.
    pub(crate) fn says_at(
        mut self,
        speaker: Speaker,
        language: &str,
        text: &str,
        translation: Option<(&str, &str)>,
        start_ms: u64,
        end_ms: u64,
    ) -> Self {
        let sequence = self.turns.len() as u32 + 1;
        self.turns.push(Turn {
            sequence,
            id: SegmentId::from_bits(sequence.into()),
            speaker,
            language: language.parse().unwrap(),
            text: text.into(),
            translation: translation
                .map(|(language, text)| Translation { language: language.parse().unwrap(), text: text.into() }),
            timestamp: Timestamp::UNIX_EPOCH,
            start_ms,
            end_ms,
            confidence: 0.9,
        });
        self.clock_ms = end_ms;
        self
    }

    pub(crate) fn customer(self, language: &str, text: &str, translation: (&str, &str)) -> Self {
        self.says(Speaker::Customer, language, text, Some(translation))
    }

    pub(crate) fn agent(self, language: &str, text: &str, translation: (&str, &str)) -> Self {
        self.says(Speaker::Agent, language, text, Some(translation))
    }

    pub(crate) fn analysed(&self, parts: &[Part], profile: Option<&Profile>) -> Analysis {
        let call = Call { turns: &self.turns, lags: &[], end_ms: Some(self.clock_ms) };
        analyse(&call, parts, profile)
    }
}

/// A hotel's guest, who speaks Spanish, complains, and is helped by an agent who speaks English.
pub(crate) fn heating() -> Script {
    Script::default()
        .agent("en", "Good morning, Hotel Aurora, this call is being recorded. How can I help you?", ("es", "Buenos días, Hotel Aurora, esta llamada se graba. ¿En qué puedo ayudarle?"))
        .customer("es", "Hola. La calefacción de la habitación 214 no funciona desde anoche.", ("en", "Hello. The heating of room 214 has not worked since last night."))
        .customer("es", "Hace muchísimo frío y estoy muy enfadada, nadie contestó en recepción.", ("en", "It is very cold and I am very angry, nobody answered at reception."))
        .agent("en", "I am so sorry to hear that. Could you tell me your name, please?", ("es", "Lo siento mucho. ¿Me dice su nombre, por favor?"))
        .customer("es", "Me llamo Carmen Ruiz.", ("en", "My name is Carmen Ruiz."))
        .agent("en", "Thank you, Ms. Ruiz. I will send a technician to repair the heating within twenty minutes.", ("es", "Gracias, señora Ruiz. Enviaré a un técnico para reparar la calefacción en veinte minutos."))
        .customer("es", "¿Y si no se puede reparar la calefacción?", ("en", "And if the heating can't be repaired?"))
        .agent("en", "Then we move you to a larger room on the fifth floor at no extra cost, and we refund last night.", ("es", "Entonces la pasamos a una habitación más grande en la quinta planta sin coste, y le reembolsamos la última noche."))
        .customer("es", "Perfecto, eso me parece muy bien.", ("en", "Perfect, that sounds very good to me."))
        .agent("en", "The technician is on his way. Is there anything else I can do for you?", ("es", "El técnico ya va de camino. ¿Puedo hacer algo más por usted?"))
        .customer("es", "No, muchas gracias, ha sido muy amable.", ("en", "No, thank you very much, you have been very kind."))
        .agent("en", "You are welcome. Have a wonderful day.", ("es", "De nada. Que tenga un día maravilloso."))
}
