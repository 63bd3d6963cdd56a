//! `chat/completions`: one question, one answer, as text.
//!
//! What must stay true: what is asked about comes as the only user message, apart from the instructions; the answer comes within the deadline and
//! has no more than so many characters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kallglot_engine::EngineError;
use serde::Deserialize;
use serde_json::json;

use crate::config::Limits;
use crate::http::{Answer, Http, not_understood};

/// Most bytes of an answer on the wire: each word of a stream costs some 300.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A model that answers.
#[derive(Debug)]
pub(crate) struct Chat {
    http: Arc<Http>,
    model: String,
    /// What errors call it.
    who: &'static str,
    /// Whether the model accepts a temperature; some think that they know better.
    takes_temperature: AtomicBool,
}

impl Chat {
    pub(crate) fn new(http: &Arc<Http>, model: String, who: &'static str) -> Self {
        Self { http: Arc::clone(http), model, who, takes_temperature: AtomicBool::new(true) }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.http.limits
    }

    /// The answer to `text` under these instructions, of at most `chars_max` characters without the model's thoughts, which may be in it.
    ///
    /// # Errors
    /// There is no whole answer in time, or it is too long.
    pub(crate) async fn ask(&self, instructions: &str, text: &str, chars_max: usize) -> Result<String, EngineError> {
        let deadline = self.http.deadline();
        let mut body = json!({
            "model": self.model,
            "stream": true,
            "messages": [
                {"role": "system", "content": instructions},
                {"role": "user", "content": text},
            ],
        });
        let mut result = Err(not_understood().into());
        for with_temperature in [true, false] {
            if with_temperature && !self.takes_temperature.load(Ordering::Relaxed) {
                continue;
            }
            if with_temperature {
                body["temperature"] = json!(0);
            } else if let Some(body) = body.as_object_mut() {
                body.remove("temperature");
            }
            result = self.http.post("chat/completions", deadline, |request| request.json(&body)).await;
            match &result {
                Err(failure) if failure.disliked => {}
                Ok(_) if !with_temperature => {
                    self.takes_temperature.store(false, Ordering::Relaxed);
                    break;
                }
                _ => break,
            }
        }
        let answer = result.map_err(|failure| failure.error)?;
        read(answer, chars_max, self.who).await
    }
}

async fn read(answer: Answer, chars_max: usize, who: &str) -> Result<String, EngineError> {
    let too_long = || EngineError::Failed(format!("the {who} answered at far greater length than it may"));
    if !answer.is_events() {
        let completion: Completion = answer.json(ANSWER_BYTES_MAX).await?;
        let choice = completion.choices.into_iter().next().ok_or_else(not_understood)?;
        let text = choice.message.and_then(|message| message.content).unwrap_or_default();
        check_end(choice.finish_reason.as_deref(), who)?;
        return if without_thoughts(&text).chars().count() > chars_max { Err(too_long()) } else { Ok(text) };
    }
    let (mut text, mut finished) = (String::new(), false);
    answer
        .events(ANSWER_BYTES_MAX, |data| {
            if data == "[DONE]" {
                finished = true;
                return Ok(true);
            }
            let completion: Completion = serde_json::from_str(data).map_err(|_| not_understood())?;
            if completion.error.is_some() {
                return Err(EngineError::Failed(format!("the {who} failed in the middle of its answer")));
            }
            for choice in completion.choices {
                if let Some(piece) = choice.delta.and_then(|delta| delta.content) {
                    text.push_str(&piece);
                }
                finished |= choice.finish_reason.is_some();
                check_end(choice.finish_reason.as_deref(), who)?;
            }
            // Bytes are no fewer than characters, so the exact count is made only when it may matter.
            if text.len() > chars_max && without_thoughts(&text).chars().count() > chars_max {
                return Err(too_long());
            }
            Ok(false)
        })
        .await?;
    if !finished {
        return Err(EngineError::Failed(format!("the {who}'s answer ended in the middle")));
    }
    Ok(text)
}

fn check_end(reason: Option<&str>, who: &str) -> Result<(), EngineError> {
    match reason {
        Some("content_filter") => Err(EngineError::Failed(format!("the {who} refused the text"))),
        Some("length") => Err(EngineError::Failed(format!("the {who} ran out of room; raise its limit of tokens"))),
        _ => Ok(()),
    }
}

/// Some models write down what they think first.
pub(crate) fn without_thoughts(answer: &str) -> &str {
    let answer = answer.trim_start();
    match answer.strip_prefix("<think>") {
        Some(thoughts) => thoughts.split_once("</think>").map_or("", |(_, rest)| rest.trim_start()),
        None => answer,
    }
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Message>,
    delta: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}
