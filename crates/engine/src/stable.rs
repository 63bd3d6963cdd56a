//! Partial text that never takes a word back.

/// Makes growing text of hypotheses that change: a word is given out once two hypotheses in a row agree on everything up to it
/// (local agreement, Liu et al. 2020, <https://arxiv.org/abs/2005.11185>), and stays.
#[derive(Debug, Default)]
pub(crate) struct StableText {
    /// The words given out.
    given: Vec<String>,
    /// The hypothesis before.
    last: Vec<String>,
}

impl StableText {
    /// Takes the next hypothesis. Returns the stable text when it has grown.
    pub(crate) fn hear(&mut self, hypothesis: &str) -> Option<String> {
        let words: Vec<String> = hypothesis.split_whitespace().map(str::to_owned).collect();
        let agreed = words.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        let before = self.given.len();
        // Words past those given out are added even where the given ones have since changed in the hypothesis: what was shown
        // stays, and the final text will correct it.
        if agreed > before {
            self.given.extend_from_slice(&words[before..agreed]);
        }
        self.last = words;
        (self.given.len() > before).then(|| self.given.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_appears_when_two_hypotheses_agree_on_it() {
        let mut text = StableText::default();
        assert_eq!(text.hear("thank"), None);
        assert_eq!(text.hear("thank you"), Some("thank".into()));
        assert_eq!(text.hear("thank you far"), Some("thank you".into()));
        assert_eq!(text.hear("thank you for calling"), None);
        assert_eq!(text.hear("thank you for calling"), Some("thank you for calling".into()));
    }

    #[test]
    fn what_was_given_out_stays_when_the_recognizer_changes_its_mind() {
        let mut text = StableText::default();
        text.hear("a b");
        assert_eq!(text.hear("a b"), Some("a b".into()));
        assert_eq!(text.hear("x y z"), None);
        assert_eq!(text.hear("x y z"), Some("a b z".into()));
        assert_eq!(text.hear(""), None);
    }
}
