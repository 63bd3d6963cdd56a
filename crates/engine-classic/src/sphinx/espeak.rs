//! Pronunciations from `libespeak-ng.so.1`, found at run time.
//!
//! What must stay true: the library has one state per process, so all use of it goes through one lock; it is set up once and never
//! shut down. Don't synthesize speech with it in the same process at the same time as phonemes are asked for.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use super::SphinxError;

const FILE: &str = "libespeak-ng.so.1";
/// Audio is given to the caller, so that no sound device is opened.
const OUTPUT_RETRIEVAL: c_int = 1;
const CHARACTERS_UTF8: c_int = 1;
/// International Phonetic Alphabet, an underscore between phonemes.
const PHONEMES_IPA: c_int = 0x02 | (('_' as c_int) << 8);

/// Whether the library has been set up in this process, and the lock on its state.
static STATE: Mutex<bool> = Mutex::new(false);

type Initialize = unsafe extern "C" fn(c_int, c_int, *const c_char, c_int) -> c_int;
type SetVoice = unsafe extern "C" fn(*const c_char) -> c_int;
type ToPhonemes = unsafe extern "C" fn(*mut *const c_void, c_int, c_int) -> *const c_char;

/// The phonemes of `texts` in the International Phonetic Alphabet, an underscore between phonemes, by the voice `voice`
/// ("es-419", "en-us"…). Same order and length as `texts`.
pub(super) fn phonemes(voice: &str, texts: &[&str]) -> Result<Vec<String>, SphinxError> {
    let mut ready = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: an ordinary C library; its initialiser only sets up tables. Never unloaded, see below.
    let library = unsafe { Library::new(FILE) }
        .map_err(|_| SphinxError::LibraryMissing { file: FILE, package: "libespeak-ng1" })?;
    // SAFETY: the types are those of Debian 12's `speak_lib.h`.
    let (initialize, set_voice, to_phonemes) = unsafe {
        (
            symbol::<Initialize>(&library, "espeak_Initialize")?,
            symbol::<SetVoice>(&library, "espeak_SetVoiceByName")?,
            symbol::<ToPhonemes>(&library, "espeak_TextToPhonemes")?,
        )
    };
    // Unloading would lose its state, which nothing could set up again.
    std::mem::forget(library);
    if !*ready {
        const DONT_EXIT: c_int = 0x8000;
        // SAFETY: a null path means the installed data; the call is made once, under the lock.
        if unsafe { initialize(OUTPUT_RETRIEVAL, 0, ptr::null(), DONT_EXIT) } < 0 {
            return Err(SphinxError::DataMissing { path: "the data of espeak-ng".into(), package: "espeak-ng-data" });
        }
        *ready = true;
    }
    let name = CString::new(voice).map_err(|_| SphinxError::Decoder("a voice's name holds a zero character"))?;
    // SAFETY: the name is a C string that lives through the call.
    if unsafe { set_voice(name.as_ptr()) } != 0 {
        return Err(SphinxError::DataMissing {
            path: format!("the espeak-ng voice {voice}"),
            package: "espeak-ng-data",
        });
    }
    Ok(texts.iter().map(|text| one(to_phonemes, text)).collect())
}

fn one(to_phonemes: ToPhonemes, text: &str) -> String {
    let Ok(text) = CString::new(text) else { return String::new() };
    let mut rest: *const c_void = text.as_ptr().cast();
    let mut phonemes = String::new();
    // The library gives a clause at a time and moves `rest`; it is null at the end. A clause has at least a character, which bounds
    // the loop even if it were not.
    for _ in 0..=text.as_bytes().len() {
        if rest.is_null() {
            break;
        }
        // SAFETY: `rest` points into `text`, which lives through the loop; the answer is copied before the next call.
        unsafe {
            let clause = to_phonemes(&mut rest, CHARACTERS_UTF8, PHONEMES_IPA);
            if clause.is_null() {
                break;
            }
            if !phonemes.is_empty() {
                phonemes.push('_');
            }
            phonemes.push_str(&CStr::from_ptr(clause).to_string_lossy());
        }
    }
    phonemes
}

/// # Safety
/// `T` must be the symbol's type.
unsafe fn symbol<T: Copy>(library: &Library, name: &'static str) -> Result<T, SphinxError> {
    // SAFETY: by the caller's promise.
    unsafe { library.get::<T>(name.as_bytes()) }
        .map(|symbol| *symbol)
        .map_err(|_| SphinxError::LibraryTooDifferent { file: FILE, symbol: name })
}
