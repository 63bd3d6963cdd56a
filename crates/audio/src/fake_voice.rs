//! A fake human voice for tests, here and in other crates (feature `testing`).

/// Something that the network takes for voice: pulses of a gliding pitch through two resonances, in syllables.
pub fn voice(duration_ms: usize) -> Vec<i16> {
    let mut samples = Vec::with_capacity(duration_ms * 8);
    let (mut phase, mut states) = (0f32, [[0f32; 2]; 3]);
    for n in 0..duration_ms * 8 {
        let seconds = n as f32 / 8_000.0;
        let syllable = seconds * 4.0;
        let vowel =
            [[700.0, 1_200.0, 2_600.0], [400.0, 2_000.0, 2_700.0], [500.0, 900.0, 2_400.0]][syllable as usize % 3];
        phase += (130.0 + 25.0 * (seconds * 5.0).sin()) / 8_000.0;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase = phase.fract();
        let mut sum = 0.0;
        for (state, hz) in states.iter_mut().zip(vowel) {
            let radius = 0.97f32;
            let next = pulse + 2.0 * radius * (std::f32::consts::TAU * hz / 8_000.0).cos() * state[0]
                - radius * radius * state[1];
            *state = [next, state[0]];
            sum += next;
        }
        let envelope = (std::f32::consts::PI * syllable.fract()).sin().sqrt().max(0.25);
        samples.push((sum * 2_500.0 * envelope) as i16);
    }
    samples
}
