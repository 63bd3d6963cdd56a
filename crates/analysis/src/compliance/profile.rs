//! What an organization wants said and not said, as it writes it down.

use std::collections::HashSet;

use kallglot_core::language::LanguageTag;
use kallglot_core::session::Speaker;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::language::Language;
use crate::text;

/// Most rules of a profile.
pub const RULES_MAX: usize = 100;
/// Most phrases of a rule.
pub const PHRASES_MAX: usize = 50;
/// Most phrases of all rules of a profile.
pub const PROFILE_PHRASES_MAX: usize = 1_000;
/// Most characters of a phrase.
pub const PHRASE_CHARS_MAX: usize = 300;
/// Most words that may stand between two words of a phrase.
pub const GAP_WORDS_MAX: u8 = 5;
/// How many may unless a rule says otherwise.
pub const GAP_WORDS: u8 = 2;
/// Most seconds of a place in a call: a day.
pub const SECONDS_MAX: u64 = 86_400;
/// Most characters of a rule's id.
pub const RULE_ID_CHARS_MAX: usize = 64;
/// Most characters of a rule's name.
pub const RULE_NAME_CHARS_MAX: usize = 200;

/// Whether a rule's phrases are wanted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// One of the phrases must be said.
    MustSay,
    /// None of them may be said.
    MustNotSay,
}

/// Whom a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Party A.
    Customer,
    /// Party B.
    Agent,
    /// Either.
    Any,
}

impl By {
    /// Whether this party's words count.
    pub const fn is(self, speaker: Speaker) -> bool {
        match self {
            Self::Customer => matches!(speaker, Speaker::Customer),
            Self::Agent => matches!(speaker, Speaker::Agent),
            Self::Any => true,
        }
    }
}

/// How bad a breach is; for whoever reads the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A remark.
    Low,
    /// The usual.
    Medium,
    /// Somebody should look.
    High,
    /// Somebody must look.
    Critical,
}

/// Some words to look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phrase {
    /// The words.
    pub text: String,
    /// The language they are in: then only texts of that language are searched. None: all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl Phrase {
    /// Whether texts in this language are searched for it: the primary subtags agree.
    pub fn is_for(&self, tag: &LanguageTag) -> bool {
        self.language.as_deref().is_none_or(|language| language.split('-').next() == Some(tag.primary()))
    }
}

/// One rule of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What flags and other rules call it; unique in its profile.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whether its phrases are wanted.
    pub kind: RuleKind,
    /// What is looked for: any of them.
    pub phrases: Vec<Phrase>,
    /// Whose words count.
    pub by: By,
    /// How bad a breach is.
    pub severity: Severity,
    /// How many other words may stand between two words of a phrase.
    pub gap_words: u8,
    /// Counts only after this rule's phrases were first said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Counts only in turns that begin in the first so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_first_seconds: Option<u64>,
    /// Counts only in turns that end in the last so many seconds of an ended session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_last_seconds: Option<u64>,
}

/// What an organization wants said and not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The rules, 1 to [`RULES_MAX`].
    pub rules: Vec<Rule>,
}

/// What is wrong with a profile's rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{param}` {problem}")]
pub struct InvalidProfile {
    /// Where: `rules[0].phrases[1].text`.
    pub param: String,
    /// What, as the end of a sentence that begins with the place.
    pub problem: String,
}

/// One JSON object whose fields are taken one by one, so that what is left over can be named.
struct Fields<'a> {
    place: String,
    fields: &'a Map<String, Value>,
    taken: HashSet<&'static str>,
}

impl<'a> Fields<'a> {
    fn of(place: String, value: &'a Value) -> Result<Self, InvalidProfile> {
        match value {
            Value::Object(fields) => Ok(Self { place, fields, taken: HashSet::new() }),
            _ => Err(InvalidProfile { param: place, problem: "must be an object".into() }),
        }
    }

    fn wrong<T>(&self, name: &str, problem: impl Into<String>) -> Result<T, InvalidProfile> {
        Err(InvalidProfile { param: format!("{}.{name}", self.place), problem: problem.into() })
    }

    /// None when it is not there or null.
    fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.taken.insert(name);
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &'static str, chars_max: usize) -> Result<Option<String>, InvalidProfile> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = value.as_str().map(str::trim).filter(|text| {
            !text.is_empty() && text.chars().count() <= chars_max && !text.chars().any(char::is_control)
        });
        match text {
            Some(text) => Ok(Some(text.to_owned())),
            None => self.wrong(name, format!("must be a text of 1 to {chars_max} characters")),
        }
    }

    fn choice<T: for<'de> Deserialize<'de>>(
        &mut self,
        name: &'static str,
        names: &str,
    ) -> Result<Option<T>, InvalidProfile> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match T::deserialize(value) {
            Ok(choice) => Ok(Some(choice)),
            Err(_) => self.wrong(name, format!("must be one of {names}")),
        }
    }

    fn number(&mut self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, InvalidProfile> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => self.wrong(name, format!("must be a whole number from {least} to {most}")),
        }
    }

    fn end(self) -> Result<(), InvalidProfile> {
        match self.fields.keys().find(|name| !self.taken.contains(name.as_str())) {
            Some(name) => self.wrong(name, "is not a field of this object"),
            None => Ok(()),
        }
    }
}

fn phrase(place: String, value: &Value) -> Result<Phrase, InvalidProfile> {
    let wrong = |param: String, problem: &str| Err(InvalidProfile { param, problem: problem.into() });
    let whole = Value::Object(Map::from_iter([("text".to_owned(), value.clone())]));
    let mut fields = Fields::of(place.clone(), if value.is_string() { &whole } else { value })?;
    let Some(text) = fields.text("text", PHRASE_CHARS_MAX)? else {
        return wrong(place, "must be a text, or an object with `text` and `language`");
    };
    let language = match fields.text("language", LanguageTag::CHARS_MAX)? {
        Some(tag) => match tag.parse::<LanguageTag>() {
            Ok(tag) => Some(tag.to_string()),
            Err(problem) => return wrong(format!("{place}.language"), &format!("is {problem}")),
        },
        None => None,
    };
    fields.end()?;
    if text::words(&text, None).is_empty() {
        return wrong(place, "must hold at least one word");
    }
    Ok(Phrase { text, language })
}

fn rule(place: String, value: &Value) -> Result<Rule, InvalidProfile> {
    let mut fields = Fields::of(place.clone(), value)?;
    let Some(id) = fields.text("id", RULE_ID_CHARS_MAX)? else { return fields.wrong("id", "is required") };
    if !id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return fields.wrong("id", "may have letters, digits, `_`, `-` and `.` only");
    }
    let name = fields.text("name", RULE_NAME_CHARS_MAX)?.unwrap_or_else(|| id.clone());
    let Some(kind) = fields.choice("kind", "`must_say`, `must_not_say`")? else {
        return fields.wrong("kind", "is required: `must_say` or `must_not_say`");
    };
    let phrases = match fields.take("phrases") {
        Some(Value::Array(phrases)) if (1..=PHRASES_MAX).contains(&phrases.len()) => phrases
            .iter()
            .enumerate()
            .map(|(at, value)| phrase(format!("{place}.phrases[{at}]"), value))
            .collect::<Result<_, _>>()?,
        _ => return fields.wrong("phrases", format!("must be a list of 1 to {PHRASES_MAX} phrases")),
    };
    let by = fields.choice("by", "`agent`, `customer`, `any`")?.unwrap_or(By::Any);
    let severity = fields.choice("severity", "`low`, `medium`, `high`, `critical`")?.unwrap_or(Severity::Medium);
    let gap_words = fields.number("gap_words", 0, GAP_WORDS_MAX.into())?.map_or(GAP_WORDS, |gap| gap as u8);
    let after = fields.text("after", RULE_ID_CHARS_MAX)?;
    let within_first_seconds = fields.number("within_first_seconds", 1, SECONDS_MAX)?;
    let within_last_seconds = fields.number("within_last_seconds", 1, SECONDS_MAX)?;
    fields.end()?;
    Ok(Rule { id, name, kind, phrases, by, severity, gap_words, after, within_first_seconds, within_last_seconds })
}

impl Profile {
    /// The profile of these rules, as a client writes them: a list of objects.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(rules: &Value) -> Result<Self, InvalidProfile> {
        let wrong = |param: &str, problem: String| Err(InvalidProfile { param: param.into(), problem });
        let list = match rules {
            Value::Array(list) if (1..=RULES_MAX).contains(&list.len()) => list,
            _ => return wrong("rules", format!("must be a list of 1 to {RULES_MAX} rules")),
        };
        let mut rules: Vec<Rule> = Vec::with_capacity(list.len());
        for (at, value) in list.iter().enumerate() {
            let rule = rule(format!("rules[{at}]"), value)?;
            if rules.iter().any(|other| other.id == rule.id) {
                return wrong(&format!("rules[{at}].id"), "is another rule's already".into());
            }
            rules.push(rule);
        }
        if rules.iter().map(|rule| rule.phrases.len()).sum::<usize>() > PROFILE_PHRASES_MAX {
            return wrong("rules", format!("have more than {PROFILE_PHRASES_MAX} phrases in all"));
        }
        for (at, rule) in rules.iter().enumerate() {
            if let Some(after) = &rule.after
                && (*after == rule.id || !rules.iter().any(|other| other.id == *after))
            {
                return wrong(&format!("rules[{at}].after"), "must be the id of another rule of this profile".into());
            }
        }
        Ok(Self { rules })
    }

    /// The rules as JSON, each with all that it was not told: [`Self::parse`] reads them back.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(&self.rules).unwrap_or(Value::Array(Vec::new()))
    }
}

/// A phrase's words in one language.
pub(crate) fn words_in(phrase: &Phrase, language: Option<Language>) -> Vec<text::Word> {
    text::words(&phrase.text, language)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_profile_is_read_with_its_defaults_and_read_back() {
        let profile = Profile::parse(&json!([
            {"id": "recorded", "kind": "must_say", "phrases": ["this call is recorded"], "by": "agent"},
            {"id": "promise", "kind": "must_not_say", "phrases": [{"text": "te lo prometo", "language": "es-MX"}], "after": "recorded"},
        ]))
        .unwrap();
        assert_eq!((profile.rules[0].severity, profile.rules[0].gap_words), (Severity::Medium, GAP_WORDS));
        assert_eq!(profile.rules[1].by, By::Any);
        assert_eq!(Profile::parse(&profile.to_json()), Ok(profile));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let good = json!({"id": "a", "kind": "must_say", "phrases": ["hello"]});
        let with = |name: &str, value: Value| {
            let mut rule = good.clone();
            rule[name] = value;
            json!([rule])
        };
        for (rules, param) in [
            (json!({}), "rules"),
            (json!([]), "rules"),
            (json!([3]), "rules[0]"),
            (with("id", json!("a b")), "rules[0].id"),
            (with("kind", json!("may_say")), "rules[0].kind"),
            (with("phrases", json!([])), "rules[0].phrases"),
            (with("phrases", json!(["hello", "?!"])), "rules[0].phrases[1]"),
            (with("phrases", json!([{"text": "hi", "language": "english"}])), "rules[0].phrases[0].language"),
            (with("phrases", json!([{"txt": "hi"}])), "rules[0].phrases[0]"),
            (with("by", json!("supervisor")), "rules[0].by"),
            (with("after", json!("b")), "rules[0].after"),
            (with("after", json!("a")), "rules[0].after"),
            (with("gap_words", json!(6)), "rules[0].gap_words"),
            (with("within_first_seconds", json!(0)), "rules[0].within_first_seconds"),
            (with("serverity", json!("low")), "rules[0].serverity"),
            (json!([good, good]), "rules[1].id"),
        ] {
            assert_eq!(Profile::parse(&rules).unwrap_err().param, param, "{rules}");
        }
    }
}
