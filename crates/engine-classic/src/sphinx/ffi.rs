//! The C functions of `libpocketsphinx.so.3` and `libsphinxbase.so.3` (5prealpha), found at run time.
//!
//! What must stay true: signatures equal Debian 12's `pocketsphinx.h`, `cmd_ln.h`, `ngram_model.h` and `logmath.h`
//! (0.8+5prealpha); every pointer from C is freed exactly once, by the owner type that holds it; no pointer leaves this module.
//! A decoder belongs to one thread at a time: the library keeps no state across decoders besides its log settings.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use libloading::Library;

use super::SphinxError;
use super::front::CEPSTRA;

type Opaque = c_void;

/// Makes a struct of function pointers and the function that fills it from a loaded library.
macro_rules! functions {
    ($name:ident { $($field:ident: fn($($argument:ty),*) $(-> $result:ty)?;)* }) => {
        struct $name { $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }
        impl $name {
            fn find(library: &Library, file: &'static str) -> Result<Self, SphinxError> {
                Ok($name { $(
                    // SAFETY: the symbol's type is the one in Debian 12's header; the library outlives the pointer, since
                    // both are fields of `Libraries`.
                    $field: *unsafe { library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>(stringify!($field).as_bytes()) }
                        .map_err(|_| SphinxError::LibraryTooDifferent { file, symbol: stringify!($field) })?,
                )* })
            }
        }
    };
}

functions!(Base {
    cmd_ln_parse_r: fn(*mut Opaque, *const Opaque, c_int, *const *mut c_char, c_int) -> *mut Opaque;
    cmd_ln_free_r: fn(*mut Opaque) -> c_int;
    err_set_logfp: fn(*mut Opaque);
    err_set_callback: fn(Option<unsafe extern "C" fn()>, *mut c_void);
    logmath_exp: fn(*mut Opaque, c_int) -> f64;
    ngram_model_read: fn(*mut Opaque, *const c_char, c_int, *mut Opaque) -> *mut Opaque;
    ngram_model_set_init: fn(*mut Opaque, *mut *mut Opaque, *mut *mut c_char, *const f32, c_int) -> *mut Opaque;
    ngram_model_free: fn(*mut Opaque) -> c_int;
});

functions!(Decoding {
    ps_args: fn() -> *const Opaque;
    ps_init: fn(*mut Opaque) -> *mut Opaque;
    ps_free: fn(*mut Opaque) -> c_int;
    ps_get_logmath: fn(*mut Opaque) -> *mut Opaque;
    ps_get_config: fn(*mut Opaque) -> *mut Opaque;
    ps_set_lm: fn(*mut Opaque, *const c_char, *mut Opaque) -> c_int;
    ps_set_search: fn(*mut Opaque, *const c_char) -> c_int;
    ps_start_utt: fn(*mut Opaque) -> c_int;
    ps_process_raw: fn(*mut Opaque, *const i16, usize, c_int, c_int) -> c_int;
    ps_process_cep: fn(*mut Opaque, *mut *mut f32, c_int, c_int, c_int) -> c_int;
    ps_end_utt: fn(*mut Opaque) -> c_int;
    ps_get_hyp: fn(*mut Opaque, *mut i32) -> *const c_char;
    ps_seg_iter: fn(*mut Opaque) -> *mut Opaque;
    ps_seg_next: fn(*mut Opaque) -> *mut Opaque;
    ps_seg_word: fn(*mut Opaque) -> *const c_char;
    ps_seg_frames: fn(*mut Opaque, *mut c_int, *mut c_int);
    ps_seg_prob: fn(*mut Opaque, *mut i32, *mut i32, *mut i32) -> i32;
});

/// The two loaded libraries. Cheap to load again: the system counts references.
pub(super) struct Libraries {
    base: Base,
    decoding: Decoding,
    // Last: the function pointers above must not outlive them.
    _pocketsphinx: Library,
    _sphinxbase: Library,
}

fn load(file: &'static str, package: &'static str) -> Result<Library, SphinxError> {
    // SAFETY: these are ordinary C libraries whose initialisers only set up their own tables.
    unsafe { Library::new(file) }.map_err(|_| SphinxError::LibraryMissing { file, package })
}

impl Libraries {
    pub(super) fn load() -> Result<Arc<Self>, SphinxError> {
        const BASE: &str = "libsphinxbase.so.3";
        const POCKETSPHINX: &str = "libpocketsphinx.so.3";
        let sphinxbase = load(BASE, "libsphinxbase3")?;
        let pocketsphinx = load(POCKETSPHINX, "libpocketsphinx3")?;
        let base = Base::find(&sphinxbase, BASE)?;
        let decoding = Decoding::find(&pocketsphinx, POCKETSPHINX)?;
        // The library would write hundreds of lines to standard error for each decoder.
        // SAFETY: both accept null, which turns messages off.
        unsafe {
            (base.err_set_callback)(None, ptr::null_mut());
            (base.err_set_logfp)(ptr::null_mut());
        }
        Ok(Arc::new(Libraries { base, decoding, _pocketsphinx: pocketsphinx, _sphinxbase: sphinxbase }))
    }
}

/// A word of a hypothesis.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// As in the dictionary, with "(2)" for an alternative pronunciation; fillers have angle brackets or plus signs.
    pub(super) text: String,
    /// First and last frame, 100 a second.
    pub(super) frames: (i32, i32),
    /// How far its sounds are from the best sounds of all, summed over its frames, negative, in the library's units.
    pub(super) acoustic: i32,
    /// How probable it is in the lattice, 0 to 1.
    pub(super) posterior: f64,
}

/// One decoder of the library.
pub(super) struct RawDecoder {
    libraries: Arc<Libraries>,
    decoder: NonNull<Opaque>,
    // The library may keep pointers to them.
    _arguments: Vec<CString>,
}

// SAFETY: the decoder has no thread-bound state; `&mut self` on everything that changes it keeps it on one thread at a time.
unsafe impl Send for RawDecoder {}

impl RawDecoder {
    /// Makes a decoder from options as on the library's command line (name, value, name, value…).
    pub(super) fn new(libraries: Arc<Libraries>, options: &[(&str, String)]) -> Result<Self, SphinxError> {
        let mut arguments = vec![c_string("decoder")?];
        for (name, value) in options {
            arguments.push(c_string(name)?);
            arguments.push(c_string(value)?);
        }
        let pointers: Vec<*mut c_char> = arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(pointers.len()).map_err(|_| SphinxError::Decoder("too many options"))?;
        let (base, decoding) = (&libraries.base, &libraries.decoding);
        // SAFETY: `ps_args` returns a static table; the argument strings live as long as the decoder; ps_init keeps its own
        // reference to the configuration, so ours is released in any case.
        let decoder = unsafe {
            let config = (base.cmd_ln_parse_r)(ptr::null_mut(), (decoding.ps_args)(), count, pointers.as_ptr(), 1);
            if config.is_null() {
                return Err(SphinxError::Decoder("an option was refused"));
            }
            let decoder = (decoding.ps_init)(config);
            (base.cmd_ln_free_r)(config);
            decoder
        };
        let decoder = NonNull::new(decoder)
            .ok_or(SphinxError::Decoder("the model, dictionary or language model could not be loaded"))?;
        Ok(RawDecoder { libraries, decoder, _arguments: arguments })
    }

    fn decoding(&self) -> &Decoding {
        &self.libraries.decoding
    }

    /// Uses several language models at once, each with its share of the probability.
    pub(super) fn set_language_models(&mut self, files: &[(&str, f32)]) -> Result<(), SphinxError> {
        const AUTO: c_int = 0;
        const FAILED: SphinxError = SphinxError::Decoder("a language model could not be loaded");
        let base = &self.libraries.base;
        let mut models = Vec::new();
        let mut names = Vec::new();
        let weights: Vec<f32> = files.iter().map(|(_, weight)| *weight).collect();
        for (index, (file, _)) in files.iter().enumerate() {
            let path = c_string(file)?;
            // SAFETY: configuration and logarithm table belong to the decoder, which outlives the call; the model is freed by
            // the set below, or just after a failure.
            let model = unsafe {
                let config = (self.decoding().ps_get_config)(self.decoder.as_ptr());
                let log = (self.decoding().ps_get_logmath)(self.decoder.as_ptr());
                (base.ngram_model_read)(config, path.as_ptr(), AUTO, log)
            };
            if model.is_null() {
                // SAFETY: each was read above and is owned here alone.
                models.iter().for_each(|model| unsafe { _ = (base.ngram_model_free)(*model) });
                return Err(FAILED);
            }
            models.push(model);
            names.push(c_string(&format!("part{index}"))?);
        }
        let mut name_pointers: Vec<*mut c_char> = names.iter().map(|name| name.as_ptr().cast_mut()).collect();
        let name = c_string("mixture")?;
        // SAFETY: the arrays have `models.len()` entries; the set takes over the models; `ps_set_lm` takes its own reference to
        // the set, so ours is released.
        let failed = unsafe {
            let config = (self.decoding().ps_get_config)(self.decoder.as_ptr());
            let count = models.len() as c_int;
            let set = (base.ngram_model_set_init)(
                config,
                models.as_mut_ptr(),
                name_pointers.as_mut_ptr(),
                weights.as_ptr(),
                count,
            );
            if set.is_null() {
                return Err(FAILED);
            }
            let failed = (self.decoding().ps_set_lm)(self.decoder.as_ptr(), name.as_ptr(), set) != 0
                || (self.decoding().ps_set_search)(self.decoder.as_ptr(), name.as_ptr()) != 0;
            (base.ngram_model_free)(set);
            failed
        };
        if failed { Err(FAILED) } else { Ok(()) }
    }

    pub(super) fn start(&mut self) -> Result<(), SphinxError> {
        // SAFETY: the decoder is alive.
        let failed = unsafe { (self.decoding().ps_start_utt)(self.decoder.as_ptr()) < 0 };
        if failed { Err(SphinxError::Decoder("an utterance could not be started")) } else { Ok(()) }
    }

    /// The next audio, 16 kHz.
    pub(super) fn process_audio(&mut self, samples: &[i16]) {
        // SAFETY: pointer and length come from one slice, which the library only reads.
        unsafe { (self.decoding().ps_process_raw)(self.decoder.as_ptr(), samples.as_ptr(), samples.len(), 0, 0) };
    }

    /// The next frames of cepstra.
    pub(super) fn process_cepstra(&mut self, frames: &mut [[f32; CEPSTRA]]) {
        if frames.is_empty() {
            return;
        }
        let mut rows: Vec<*mut f32> = frames.iter_mut().map(|frame| frame.as_mut_ptr()).collect();
        // It takes all of them, or fails as a whole; then their words are lost, and the utterance goes on.
        // SAFETY: as many row pointers as is said, each to 13 floats that live through the call.
        unsafe {
            (self.decoding().ps_process_cep)(self.decoder.as_ptr(), rows.as_mut_ptr(), rows.len() as c_int, 0, 0)
        };
    }

    pub(super) fn finish(&mut self) {
        // SAFETY: the decoder is alive; ending an utterance that isn't open is refused by the library.
        unsafe { (self.decoding().ps_end_utt)(self.decoder.as_ptr()) };
    }

    /// The best text so far, without fillers and alternates' numbers.
    pub(super) fn text(&mut self) -> Option<String> {
        let mut score = 0;
        // SAFETY: the string belongs to the decoder and is copied before anything else is called.
        unsafe {
            let text = (self.decoding().ps_get_hyp)(self.decoder.as_ptr(), &mut score);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    /// The words of the best text, fillers included.
    pub(super) fn words(&mut self) -> Vec<Word> {
        let mut words = Vec::new();
        let decoding = self.decoding();
        // SAFETY: the iterator is followed to its end, where the library frees it; strings are copied at once.
        unsafe {
            let log = (decoding.ps_get_logmath)(self.decoder.as_ptr());
            let mut segment = (decoding.ps_seg_iter)(self.decoder.as_ptr());
            while !segment.is_null() {
                let (mut first, mut last) = (0, 0);
                (decoding.ps_seg_frames)(segment, &mut first, &mut last);
                let (mut acoustic, mut language, mut backoff) = (0, 0, 0);
                let posterior = (decoding.ps_seg_prob)(segment, &mut acoustic, &mut language, &mut backoff);
                let text = (decoding.ps_seg_word)(segment);
                if !text.is_null() {
                    words.push(Word {
                        text: CStr::from_ptr(text).to_string_lossy().into_owned(),
                        frames: (first, last),
                        acoustic,
                        posterior: (self.libraries.base.logmath_exp)(log, posterior).clamp(0.0, 1.0),
                    });
                }
                segment = (decoding.ps_seg_next)(segment);
            }
        }
        words
    }
}

impl Drop for RawDecoder {
    fn drop(&mut self) {
        // SAFETY: made by ps_init, freed once.
        unsafe { (self.decoding().ps_free)(self.decoder.as_ptr()) };
    }
}

fn c_string(text: &str) -> Result<CString, SphinxError> {
    CString::new(text).map_err(|_| SphinxError::Decoder("a text holds a zero character"))
}

// The library counts audio in `long`; a smaller one would make lengths differ from these declarations.
const _: () = assert!(size_of::<c_long>() == size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::super::front::{Cepstrum, Cosines, Front};
    use super::*;

    functions!(FrontEnd {
        fe_get_args: fn() -> *const Opaque;
        fe_init_auto_r: fn(*mut Opaque) -> *mut Opaque;
        fe_start_utt: fn(*mut Opaque) -> c_int;
        fe_process_utt: fn(*mut Opaque, *const i16, usize, *mut *mut *mut f32, *mut i32) -> c_int;
    });

    /// What the library's own front end makes of 16 kHz audio, with the model's parameters. Leaks what it allocates.
    fn library_cepstra(samples: &[i16]) -> Vec<Cepstrum> {
        let libraries = Libraries::load().unwrap();
        let front = FrontEnd::find(&libraries._sphinxbase, "libsphinxbase.so.3").unwrap();
        let options =
            "fe -lowerf 130 -upperf 6800 -nfilt 25 -transform dct -lifter 22 -remove_noise no -remove_silence no";
        let arguments: Vec<CString> = options.split(' ').map(|option| CString::new(option).unwrap()).collect();
        let pointers: Vec<*mut c_char> = arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        // SAFETY: as in the header; the block of frames has the number of rows that the library says, of 13 numbers each.
        unsafe {
            let (table, count) = ((front.fe_get_args)(), pointers.len() as c_int);
            let config = (libraries.base.cmd_ln_parse_r)(ptr::null_mut(), table, count, pointers.as_ptr(), 1);
            let fe = (front.fe_init_auto_r)(config);
            assert!(!fe.is_null() && (front.fe_start_utt)(fe) == 0);
            let (mut block, mut frames) = (ptr::null_mut(), 0);
            assert_eq!((front.fe_process_utt)(fe, samples.as_ptr(), samples.len(), &mut block, &mut frames), 0);
            std::mem::forget(arguments);
            (0..frames as usize).map(|at| *(*block.add(at)).cast::<Cepstrum>()).collect()
        }
    }

    #[test]
    fn our_cepstra_are_the_librarys() {
        // Two tones that drift, and some noise, at 16 kHz for half a second.
        let mut noise = 1u32;
        let samples: Vec<i16> = (0..8_000)
            .map(|at| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let time = f64::from(at) / 16_000.0;
                let tones = (time * 2_000.0 * (1.0 + time)).sin() + 0.5 * (time * 9_000.0 * (1.0 - time / 2.0)).sin();
                (tones * 6_000.0) as i16 + (noise >> 23) as i16
            })
            .collect();
        let theirs = library_cepstra(&samples);
        let mut energies = Vec::new();
        Front::new().push(&samples, &mut energies);
        let cosines = Cosines::new();
        assert!(
            theirs.len() >= 45 && energies.len().abs_diff(theirs.len()) <= 1,
            "{} and {}",
            theirs.len(),
            energies.len()
        );
        for (at, (theirs, ours)) in theirs.iter().zip(&energies).enumerate() {
            for (theirs, ours) in theirs.iter().zip(cosines.cepstrum(ours)) {
                assert!((theirs - ours).abs() < 0.05, "frame {at}: {theirs} and {ours}");
            }
        }
    }
}
