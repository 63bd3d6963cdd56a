//! Sound to test with, and what others' decoders hear in what was made of it.

use kallglot_audio::g711;

/// Something like speech, as mu-law: syllables of gliding harmonics with noise between them, different for each seed.
pub(super) fn speech(seed: u32, length: usize) -> Vec<u8> {
    let mut random = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut phase = 0.0f32;
    (0..length)
        .map(|n| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let noise = (random >> 16) as f32 / 32_768.0 - 1.0;
            let time = n as f32 / 8_000.0;
            let syllable = (time * 2.0 * std::f32::consts::PI * (3.0 + seed as f32 * 0.17)).sin().max(0.0);
            let pitch = 110.0 + 23.0 * seed as f32 + 30.0 * (time * 5.0 + seed as f32).sin();
            phase += pitch / 8_000.0;
            let voice: f32 =
                (1..24).map(|k| (std::f32::consts::TAU * phase * k as f32).sin() / (k as f32).powf(1.2)).sum();
            g711::linear_to_mulaw((syllable * (4_500.0 * voice + 300.0 * noise)) as i16)
        })
        .collect()
}

/// By how many samples `heard` is late, and how far its difference lies below `said` then, in dB.
pub(super) fn delay_of(said: &[i16], heard: &[i16]) -> (isize, f64) {
    let at = |samples: &[i16], n: isize| usize::try_from(n).ok().and_then(|n| samples.get(n)).copied().unwrap_or(0);
    let likeness = |delay: isize| -> f64 {
        (0..said.len() as isize).step_by(5).map(|n| f64::from(at(said, n)) * f64::from(at(heard, n + delay))).sum()
    };
    // 20 ms either way.
    let delay = (-160..=160).max_by(|&a, &b| likeness(a).total_cmp(&likeness(b))).unwrap();
    let (mut power, mut difference) = (0.0, 0.0);
    for n in 0..said.len() as isize {
        let (a, b) = (f64::from(at(said, n)), f64::from(at(heard, n + delay)));
        power += a * a;
        difference += (a - b) * (a - b);
    }
    (delay, 10.0 * (power / difference).log10())
}

/// What an independent decoder hears, at 8 kHz, interleaved; pages and packets are checked on the way.
pub(super) fn decoded_ogg(mut file: &[u8], channels: usize) -> Vec<i16> {
    let mut decoder = opus_decoder::OpusDecoder::new(8_000, channels).unwrap();
    let (mut heard, mut number, mut packets, mut skip, mut end) = (Vec::new(), 0u32, 0, 0, 0);
    while !file.is_empty() {
        assert_eq!(&file[..5], b"OggS\0");
        assert_eq!(u32::from_le_bytes(file[18..22].try_into().unwrap()), number);
        let sizes = &file[27..27 + usize::from(file[26])];
        let granules = u64::from_le_bytes(file[6..14].try_into().unwrap());
        let mut body = &file[27 + sizes.len()..];
        let page_bytes = 27 + sizes.len() + sizes.iter().map(|&size| usize::from(size)).sum::<usize>();
        for &size in sizes {
            let (packet, rest) = body.split_at(usize::from(size));
            body = rest;
            match number {
                0 => {
                    assert_eq!((&packet[..9], usize::from(packet[9])), (&b"OpusHead\x01"[..], channels));
                    skip = u64::from(u16::from_le_bytes([packet[10], packet[11]]));
                }
                1 => assert_eq!(&packet[..8], b"OpusTags"),
                _ => {
                    let mut samples = vec![0; decoder.max_frame_size_per_channel() * channels];
                    let length = decoder.decode(packet, &mut samples, false).unwrap();
                    heard.extend_from_slice(&samples[..length * channels]);
                    packets += 1;
                }
            }
        }
        file = &file[page_bytes..];
        if file.is_empty() {
            assert!(granules <= packets * 960 && granules + 960 > packets * 960);
            end = granules;
        } else if number >= 2 {
            assert_eq!(granules, packets * 960);
        }
        number += 1;
    }
    heard[skip as usize / 6 * channels..end as usize / 6 * channels].to_vec()
}

/// What an independent decoder hears, at 8 kHz, interleaved: of every two moments at 16 kHz the first.
pub(super) fn decoded_mp3(file: &[u8], channels: usize) -> Vec<i16> {
    let kind = if channels == 1 { nanomp3::Channels::Mono } else { nanomp3::Channels::Stereo };
    let mut decoder = nanomp3::Decoder::new();
    let mut samples = vec![0i16; nanomp3::MAX_SAMPLES_PER_FRAME];
    let (mut heard, mut rest) = (Vec::new(), file);
    while !rest.is_empty() {
        let (used, info) = decoder.decode(rest, &mut samples);
        let info = info.unwrap();
        assert_eq!((info.sample_rate, info.channels), (16_000, kind));
        for moment in samples[..info.samples_produced * channels].chunks(2 * channels) {
            heard.extend_from_slice(&moment[..channels]);
        }
        rest = &rest[used..];
    }
    heard
}
