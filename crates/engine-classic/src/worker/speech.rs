//! The few C functions of `libespeak-ng.so.1` that speaking needs, found at run time.
//!
//! What must stay true: signatures equal Debian 12's `espeak-ng/speak_lib.h` (1.51); the library has one state per process, so there
//! is one [`Speech`] per process, used by one thread.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_short, c_uint, c_void};
use std::ptr;

use libloading::Library;

/// Audio comes through the callback, before `espeak_Synth` returns.
const OUTPUT_SYNCHRONOUS: c_int = 2;
const DONT_EXIT: c_int = 0x8000;
const CHARACTERS_UTF8: c_uint = 1;
const POSITION_CHARACTER: c_int = 1;
/// How much audio the library hands over at a time, in ms.
const CHUNK_MS: c_int = 50;

type Callback = unsafe extern "C" fn(*mut c_short, c_int, *mut c_void) -> c_int;
type Initialize = unsafe extern "C" fn(c_int, c_int, *const c_char, c_int) -> c_int;
type SetCallback = unsafe extern "C" fn(Callback);
type SetVoice = unsafe extern "C" fn(*const c_char) -> c_int;
type Synth =
    unsafe extern "C" fn(*const c_void, usize, c_uint, c_int, c_uint, c_uint, *mut c_uint, *mut c_void) -> c_int;

/// Takes audio; says whether to go on.
type Sink<'a> = &'a mut dyn FnMut(&[i16]) -> bool;

thread_local! {
    /// Where the callback puts audio: a `*mut Sink`, null unless `espeak_Synth` is running on this thread.
    static SINK: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// The loaded and initialized library.
pub(super) struct Speech {
    set_voice: SetVoice,
    synth: Synth,
    /// Samples per second of what it makes.
    pub(super) rate_hz: u32,
    voice: String,
    // Last: the pointers above must not outlive it.
    _library: Library,
}

impl Speech {
    /// Loads the library and its data.
    pub(super) fn open() -> Result<Self, String> {
        const MISSING: &str = "the speech synthesizer espeak-ng is not installed (Debian package libespeak-ng1)";
        const DIFFERENT: &str = "the installed espeak-ng is too different from version 1.51";
        // SAFETY: an ordinary C library whose initializers only set up tables.
        let library = unsafe { Library::new("libespeak-ng.so.1") }.map_err(|_| MISSING)?;
        // SAFETY: the types are those of the header named above; the pointers live no longer than `_library`.
        let (initialize, set_callback, set_voice, synth) = unsafe {
            (
                *library.get::<Initialize>(b"espeak_Initialize").map_err(|_| DIFFERENT)?,
                *library.get::<SetCallback>(b"espeak_SetSynthCallback").map_err(|_| DIFFERENT)?,
                *library.get::<SetVoice>(b"espeak_SetVoiceByName").map_err(|_| DIFFERENT)?,
                *library.get::<Synth>(b"espeak_Synth").map_err(|_| DIFFERENT)?,
            )
        };
        // SAFETY: a null path means the installed data.
        let rate_hz = unsafe { initialize(OUTPUT_SYNCHRONOUS, CHUNK_MS, ptr::null(), DONT_EXIT) };
        let rate_hz = u32::try_from(rate_hz)
            .ok()
            .filter(|rate| *rate > 0)
            .ok_or("espeak-ng's data are missing (Debian package espeak-ng-data)")?;
        // SAFETY: the callback is a function of this program and stays.
        unsafe { set_callback(take_audio) };
        Ok(Self { set_voice, synth, rate_hz, voice: String::new(), _library: library })
    }

    /// Speaks a text, giving its audio to `sink` piece by piece until it returns false.
    pub(super) fn speak(&mut self, text: &str, voice: &str, mut sink: Sink<'_>) -> Result<(), String> {
        if self.voice != voice {
            let name = CString::new(voice).map_err(|_| "a voice's name holds a zero character")?;
            self.voice.clear();
            // SAFETY: a C string that lives through the call, which copies it.
            if unsafe { (self.set_voice)(name.as_ptr()) } != 0 {
                return Err(format!("espeak-ng has no voice {voice}"));
            }
            voice.clone_into(&mut self.voice);
        }
        let text = CString::new(text.replace('\0', " ")).map_err(|_| "a text holds a zero character")?;
        let size = text.as_bytes_with_nul().len();
        let sink: *mut Sink<'_> = &mut sink;
        SINK.set(sink.cast());
        // SAFETY: the text lives through the call, which is synchronous: the callback runs on this thread, before it returns, while
        // `sink` is alive and not otherwise used.
        let error = unsafe {
            (self.synth)(
                text.as_ptr().cast(),
                size,
                0,
                POSITION_CHARACTER,
                0,
                CHARACTERS_UTF8,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        SINK.set(ptr::null_mut());
        if error == 0 { Ok(()) } else { Err(format!("espeak-ng failed with code {error}")) }
    }
}

/// Called by the library with the next audio; a null pointer at the end. Returns 1 to stop.
unsafe extern "C" fn take_audio(samples: *mut c_short, count: c_int, _events: *mut c_void) -> c_int {
    let sink = SINK.get().cast::<Sink<'_>>();
    let Ok(count) = usize::try_from(count) else { return 1 };
    if sink.is_null() {
        return 1;
    }
    if samples.is_null() || count == 0 {
        return 0;
    }
    // SAFETY: the library passes `count` samples that are valid during the call; `sink` was set by `speak`, which is waiting for
    // `espeak_Synth` on this thread.
    let go_on = unsafe { (*sink)(std::slice::from_raw_parts(samples, count)) };
    c_int::from(!go_on)
}
