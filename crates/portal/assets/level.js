// How loud audio is, in dBFS, as the server tells it: root mean square, -96 for silence.

export const SILENCE_DBFS = -96;
// The quietest level that a meter shows.
export const SHOWN_DBFS = -60;

export function dbfs(samples) {
  if (samples.length === 0) return SILENCE_DBFS;
  const mean = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  return mean > 0 ? Math.max(SILENCE_DBFS, 10 * Math.log10(mean)) : SILENCE_DBFS;
}

// What a meter from 0 to 100 shows of a level.
export function shown(level) {
  return Math.round(Math.max(0, Math.min(1, 1 - level / SHOWN_DBFS)) * 100);
}
