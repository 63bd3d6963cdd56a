//! ISO/IEC 11172-3's and 13818-3's numbers for layer III: the Huffman codes (table 3-B.7), the bands (13818-3, table B.8), the window
//! (table 3-B.3). What must stay true: the codes are complete and prefix-free, which a test checks.

/// One Huffman table: for each pair of values, in rows of `side`, a code word and its length in bits.
pub(super) struct Table {
    /// Its number in the bit stream.
    pub(super) number: u8,
    /// Values that it has codes for, from 0 on; 15 says that more bits follow, where `extra_bits` is not 0.
    pub(super) side: usize,
    /// Bits that follow a 15.
    pub(super) extra_bits: u32,
    lengths: &'static [u8],
    codes: &'static [u16],
}

impl Table {
    /// The code word of a pair and its length.
    pub(super) const fn code(&self, x: usize, y: usize) -> (u32, u32) {
        let at = x * self.side + y;
        (self.codes[at] as u32, self.lengths[at] as u32)
    }
}

/// Lengths of 1 to 19 bits out of digits of base 20: 1 to 9, then a to j.
const fn lengths<const N: usize>(digits: &[u8; N]) -> [u8; N] {
    let mut lengths = *digits;
    let mut n = 0;
    while n < N {
        lengths[n] -= if lengths[n] <= b'9' { b'0' } else { b'a' - 10 };
        n += 1;
    }
    lengths
}

const fn table(number: u8, side: usize, lengths: &'static [u8], codes: &'static [u16]) -> Table {
    Table { number, side, extra_bits: 0, lengths, codes }
}

/// A table that shares the codes of `of` and has bits of its own for what is beyond.
const fn extended(number: u8, extra_bits: u32, of: &Table) -> Table {
    Table { number, side: of.side, extra_bits, lengths: of.lengths, codes: of.codes }
}

static LENGTHS_1: [u8; 4] = lengths(b"1323");
static CODES_1: [u16; 4] = [1, 1, 1, 0];
static LENGTHS_2: [u8; 9] = lengths(b"136335556");
static CODES_2: [u16; 9] = [1, 2, 1, 3, 1, 1, 3, 2, 0];
static LENGTHS_3: [u8; 9] = lengths(b"226325556");
static CODES_3: [u16; 9] = [3, 2, 1, 1, 1, 1, 3, 2, 0];
static LENGTHS_5: [u8; 16] = lengths(b"1367336766787678");
static CODES_5: [u16; 16] = [1, 2, 6, 5, 3, 1, 4, 4, 7, 5, 7, 1, 6, 1, 1, 0];
static LENGTHS_6: [u8; 16] = lengths(b"3357324544566567");
static CODES_6: [u16; 16] = [7, 3, 5, 1, 6, 2, 3, 2, 5, 4, 4, 1, 3, 3, 2, 0];
static LENGTHS_7: [u8; 36] = lengths(b"13688934677865788977899977899a889aaa");
#[rustfmt::skip]
static CODES_7: [u16; 36] = [
    1, 2, 10, 19, 16, 10, 3, 3, 7, 10, 5, 3, 11, 4, 13, 17, 8, 4, 12, 11, 18, 15, 11, 2, 7, 6, 9, 14, 3, 1, 6, 4, 5, 3, 2, 0,
];
static LENGTHS_8: [u8; 36] = lengths(b"23688932488864688988899a8789aa9899bb");
#[rustfmt::skip]
static CODES_8: [u16; 36] = [
    3, 4, 6, 18, 12, 5, 5, 1, 2, 16, 9, 3, 7, 3, 5, 14, 7, 3, 19, 17, 15, 13, 10, 4, 13, 5, 8, 11, 5, 1, 12, 4, 4, 1, 1, 0,
];
static LENGTHS_9: [u8; 36] = lengths(b"335689334568445678656778767789878899");
#[rustfmt::skip]
static CODES_9: [u16; 36] = [
    7, 5, 9, 14, 15, 7, 6, 4, 5, 5, 6, 7, 7, 6, 8, 8, 8, 5, 15, 6, 9, 10, 5, 1, 11, 7, 9, 6, 4, 1, 14, 4, 6, 2, 6, 0,
];
static LENGTHS_10: [u8; 64] = lengths(b"1368999a3467898866789a997789aa9a889aaaaa99aabbab889aaabb989aabbb");
#[rustfmt::skip]
static CODES_10: [u16; 64] = [
    1, 2, 10, 23, 35, 30, 12, 17, 3, 3, 8, 12, 18, 21, 12, 7, 11, 9, 15, 21, 32, 40, 19, 6, 14, 13, 22, 34, 46, 23, 18, 7, 20, 19,
    33, 47, 27, 22, 9, 3, 31, 22, 41, 26, 21, 20, 5, 3, 14, 13, 10, 11, 16, 6, 5, 1, 9, 8, 7, 8, 4, 4, 2, 0,
];
static LENGTHS_11: [u8; 64] = lengths(b"23578989334688785567898876798a8988899a9a889aabab87789aaa8789aaaa");
#[rustfmt::skip]
static CODES_11: [u16; 64] = [
    3, 4, 10, 24, 34, 33, 21, 15, 5, 3, 4, 10, 32, 17, 11, 10, 11, 7, 13, 18, 30, 31, 20, 5, 25, 11, 19, 59, 27, 18, 12, 5, 35, 33,
    31, 58, 30, 16, 7, 5, 28, 26, 32, 19, 17, 15, 8, 14, 14, 12, 9, 13, 14, 9, 4, 1, 11, 4, 6, 6, 6, 3, 2, 0,
];
static LENGTHS_12: [u8; 64] = lengths(b"4357899933457788545678786566788876778889878889898778899a9889999a");
#[rustfmt::skip]
static CODES_12: [u16; 64] = [
    9, 6, 16, 33, 41, 39, 38, 26, 7, 5, 6, 9, 23, 16, 26, 11, 17, 7, 11, 14, 21, 30, 10, 7, 17, 10, 15, 12, 18, 28, 14, 5, 32, 13,
    22, 19, 18, 16, 9, 5, 40, 17, 31, 29, 17, 13, 4, 2, 27, 12, 11, 15, 10, 7, 4, 1, 27, 12, 8, 12, 6, 3, 1, 0,
];
static LENGTHS_13: [u8; 256] = lengths(b"1467899a9abbccdd3467889999aabccc667899aa9aabbcdd77899aaaabbbbcdd8799aabbabbccdde989aaabbbbcbddee99aabbbbbcccdd\
    eea9abbbccccdddegg989aabbccccddeffa9aabbbdcddeeegfaaabbccdcdedefghbaabccccdddefffgbbbccdcdeefffgggcbcdddeeeeefgfggdccddd\
    feehfffhggccdeeefeffggjijg");
#[rustfmt::skip]
static CODES_13: [u16; 256] = [
    1, 5, 14, 21, 34, 51, 46, 71, 42, 52, 68, 52, 67, 44, 43, 19, 3, 4, 12, 19, 31, 26, 44, 33, 31, 24, 32, 24, 31, 35, 22, 14, 15,
    13, 23, 36, 59, 49, 77, 65, 29, 40, 30, 40, 27, 33, 42, 16, 22, 20, 37, 61, 56, 79, 73, 64, 43, 76, 56, 37, 26, 31, 25, 14, 35,
    16, 60, 57, 97, 75, 114, 91, 54, 73, 55, 41, 48, 53, 23, 24, 58, 27, 50, 96, 76, 70, 93, 84, 77, 58, 79, 29, 74, 49, 41, 17, 47,
    45, 78, 74, 115, 94, 90, 79, 69, 83, 71, 50, 59, 38, 36, 15, 72, 34, 56, 95, 92, 85, 91, 90, 86, 73, 77, 65, 51, 44, 43, 42, 43,
    20, 30, 44, 55, 78, 72, 87, 78, 61, 46, 54, 37, 30, 20, 16, 53, 25, 41, 37, 44, 59, 54, 81, 66, 76, 57, 54, 37, 18, 39, 11, 35,
    33, 31, 57, 42, 82, 72, 80, 47, 58, 55, 21, 22, 26, 38, 22, 53, 25, 23, 38, 70, 60, 51, 36, 55, 26, 34, 23, 27, 14, 9, 7, 34, 32,
    28, 39, 49, 75, 30, 52, 48, 40, 52, 28, 18, 17, 9, 5, 45, 21, 34, 64, 56, 50, 49, 45, 31, 19, 12, 15, 10, 7, 6, 3, 48, 23, 20,
    39, 36, 35, 53, 21, 16, 23, 13, 10, 6, 1, 4, 2, 16, 15, 17, 27, 25, 20, 29, 11, 17, 12, 16, 8, 1, 1, 0, 1,
];
static LENGTHS_15: [u8; 256] = lengths(b"345778999aabbbcd43567788899aaabb55567788899aabbb6667788999aaabbb7677889999aaabbb8778889999aabbbc978889999aaabb\
    cc9889999aaaaabbbc9889999aaaabbccc989999aaabbbbccca999aaaaabbbbcdca999aaaabbbbcccdba9aaabbbbbbccddbaaaabbbbcccccddcbbbbb\
    bbccccddcdcbbbbbbcccccdddd");
#[rustfmt::skip]
static CODES_15: [u16; 256] = [
    7, 12, 18, 53, 47, 76, 124, 108, 89, 123, 108, 119, 107, 81, 122, 63, 13, 5, 16, 27, 46, 36, 61, 51, 42, 70, 52, 83, 65, 41, 59,
    36, 19, 17, 15, 24, 41, 34, 59, 48, 40, 64, 50, 78, 62, 80, 56, 33, 29, 28, 25, 43, 39, 63, 55, 93, 76, 59, 93, 72, 54, 75, 50,
    29, 52, 22, 42, 40, 67, 57, 95, 79, 72, 57, 89, 69, 49, 66, 46, 27, 77, 37, 35, 66, 58, 52, 91, 74, 62, 48, 79, 63, 90, 62, 40,
    38, 125, 32, 60, 56, 50, 92, 78, 65, 55, 87, 71, 51, 73, 51, 70, 30, 109, 53, 49, 94, 88, 75, 66, 122, 91, 73, 56, 42, 64, 44,
    21, 25, 90, 43, 41, 77, 73, 63, 56, 92, 77, 66, 47, 67, 48, 53, 36, 20, 71, 34, 67, 60, 58, 49, 88, 76, 67, 106, 71, 54, 38, 39,
    23, 15, 109, 53, 51, 47, 90, 82, 58, 57, 48, 72, 57, 41, 23, 27, 62, 9, 86, 42, 40, 37, 70, 64, 52, 43, 70, 55, 42, 25, 29, 18,
    11, 11, 118, 68, 30, 55, 50, 46, 74, 65, 49, 39, 24, 16, 22, 13, 14, 7, 91, 44, 39, 38, 34, 63, 52, 45, 31, 52, 28, 19, 14, 8, 9,
    3, 123, 60, 58, 53, 47, 43, 32, 22, 37, 24, 17, 12, 15, 10, 2, 1, 71, 37, 34, 30, 28, 20, 17, 26, 21, 16, 10, 6, 8, 6, 2, 0,
];
static LENGTHS_16: [u8; 256] = lengths(b"146899aabbbcccd934678999aaabcbc8667899aababbbcc987899aaabbcccdda9899aabbbcccddd99899abbcbccdddeaa99abbbbccccdd\
    eaa9aabbbccddddffaaaabbbccddddeeeabaabbccddddededbbbabccccdeeeffeacbbbccdeeeeeedebcccccddddfeeeegbecccddeeegfffhfbddbcee\
    deefgfhfeb98899aaabbbbbbb8");
#[rustfmt::skip]
static CODES_16: [u16; 256] = [
    1, 5, 14, 44, 74, 63, 110, 93, 172, 149, 138, 242, 225, 195, 376, 17, 3, 4, 12, 20, 35, 62, 53, 47, 83, 75, 68, 119, 201, 107,
    207, 9, 15, 13, 23, 38, 67, 58, 103, 90, 161, 72, 127, 117, 110, 209, 206, 16, 45, 21, 39, 69, 64, 114, 99, 87, 158, 140, 252,
    212, 199, 387, 365, 26, 75, 36, 68, 65, 115, 101, 179, 164, 155, 264, 246, 226, 395, 382, 362, 9, 66, 30, 59, 56, 102, 185, 173,
    265, 142, 253, 232, 400, 388, 378, 445, 16, 111, 54, 52, 100, 184, 178, 160, 133, 257, 244, 228, 217, 385, 366, 715, 10, 98, 48,
    91, 88, 165, 157, 148, 261, 248, 407, 397, 372, 380, 889, 884, 8, 85, 84, 81, 159, 156, 143, 260, 249, 427, 401, 392, 383, 727,
    713, 708, 7, 154, 76, 73, 141, 131, 256, 245, 426, 406, 394, 384, 735, 359, 710, 352, 11, 139, 129, 67, 125, 247, 233, 229, 219,
    393, 743, 737, 720, 885, 882, 439, 4, 243, 120, 118, 115, 227, 223, 396, 746, 742, 736, 721, 712, 706, 223, 436, 6, 202, 224,
    222, 218, 216, 389, 386, 381, 364, 888, 443, 707, 440, 437, 1728, 4, 747, 211, 210, 208, 370, 379, 734, 723, 714, 1735, 883, 877,
    876, 3459, 865, 2, 377, 369, 102, 187, 726, 722, 358, 711, 709, 866, 1734, 871, 3458, 870, 434, 0, 12, 10, 7, 11, 10, 17, 11, 9,
    13, 12, 10, 7, 5, 3, 1, 3,
];
static LENGTHS_24: [u8; 256] = lengths(b"4467899aabbbbbc94456788999aaaaa865677889999aaab776778889999aaaa78778888999aaaab79788889999aaaaa7988889999aaaaa\
    b7a8889999aaaaabb8a99999999aaaabb8a999999aaaaabbb8b9999aaaaaabbbb8ba999aaaaaabbbb8baaaaaaaaabbbbb8baaaaaaabbbbbbb8caaaaa\
    abbbbbbbb88777777777788884");
#[rustfmt::skip]
static CODES_24: [u16; 256] = [
    15, 13, 46, 80, 146, 262, 248, 434, 426, 669, 653, 649, 621, 517, 1032, 88, 14, 12, 21, 38, 71, 130, 122, 216, 209, 198, 327,
    345, 319, 297, 279, 42, 47, 22, 41, 74, 68, 128, 120, 221, 207, 194, 182, 340, 315, 295, 541, 18, 81, 39, 75, 70, 134, 125, 116,
    220, 204, 190, 178, 325, 311, 293, 271, 16, 147, 72, 69, 135, 127, 118, 112, 210, 200, 188, 352, 323, 306, 285, 540, 14, 263, 66,
    129, 126, 119, 114, 214, 202, 192, 180, 341, 317, 301, 281, 262, 12, 249, 123, 121, 117, 113, 215, 206, 195, 185, 347, 330, 308,
    291, 272, 520, 10, 435, 115, 111, 109, 211, 203, 196, 187, 353, 332, 313, 298, 283, 531, 381, 17, 427, 212, 208, 205, 201, 193,
    186, 177, 169, 320, 303, 286, 268, 514, 377, 16, 335, 199, 197, 191, 189, 181, 174, 333, 321, 305, 289, 275, 521, 379, 371, 11,
    668, 184, 183, 179, 175, 344, 331, 314, 304, 290, 277, 530, 383, 373, 366, 10, 652, 346, 171, 168, 164, 318, 309, 299, 287, 276,
    263, 513, 375, 368, 362, 6, 648, 322, 316, 312, 307, 302, 292, 284, 269, 261, 512, 376, 370, 364, 359, 4, 620, 300, 296, 294,
    288, 282, 273, 266, 515, 380, 374, 369, 365, 361, 357, 2, 1033, 280, 278, 274, 267, 264, 259, 382, 378, 372, 367, 363, 360, 358,
    356, 0, 43, 20, 19, 17, 15, 13, 11, 9, 7, 6, 4, 7, 5, 3, 1, 3,
];

/// The tables that are used, the smaller ones first. Numbers 0, 4 and 14 have none.
pub(super) static TABLES: [Table; 29] = [
    table(1, 2, &LENGTHS_1, &CODES_1),
    table(2, 3, &LENGTHS_2, &CODES_2),
    table(3, 3, &LENGTHS_3, &CODES_3),
    table(5, 4, &LENGTHS_5, &CODES_5),
    table(6, 4, &LENGTHS_6, &CODES_6),
    table(7, 6, &LENGTHS_7, &CODES_7),
    table(8, 6, &LENGTHS_8, &CODES_8),
    table(9, 6, &LENGTHS_9, &CODES_9),
    table(10, 8, &LENGTHS_10, &CODES_10),
    table(11, 8, &LENGTHS_11, &CODES_11),
    table(12, 8, &LENGTHS_12, &CODES_12),
    table(13, 16, &LENGTHS_13, &CODES_13),
    table(15, 16, &LENGTHS_15, &CODES_15),
    extended(16, 1, &SHARED_16),
    extended(17, 2, &SHARED_16),
    extended(18, 3, &SHARED_16),
    extended(19, 4, &SHARED_16),
    extended(20, 6, &SHARED_16),
    extended(21, 8, &SHARED_16),
    extended(22, 10, &SHARED_16),
    extended(23, 13, &SHARED_16),
    extended(24, 4, &SHARED_24),
    extended(25, 5, &SHARED_24),
    extended(26, 6, &SHARED_24),
    extended(27, 7, &SHARED_24),
    extended(28, 8, &SHARED_24),
    extended(29, 9, &SHARED_24),
    extended(30, 11, &SHARED_24),
    extended(31, 13, &SHARED_24),
];

static SHARED_16: Table = table(16, 16, &LENGTHS_16, &CODES_16);
static SHARED_24: Table = table(24, 16, &LENGTHS_24, &CODES_24);

/// Table A for four values of 0 or 1: code words and lengths by the number that the four make, the first one's bit the highest. Table B is
/// the four bits inverted.
pub(super) static QUADS: [(u32, u32); 16] = [
    (1, 1),
    (5, 4),
    (4, 4),
    (5, 5),
    (6, 4),
    (5, 6),
    (4, 5),
    (4, 6),
    (7, 4),
    (3, 5),
    (6, 5),
    (0, 6),
    (7, 5),
    (2, 6),
    (3, 6),
    (1, 6),
];

/// Where the scale factor bands of long blocks begin at 16 kHz, in lines of 13.9 Hz, and where the last one ends.
pub(super) const BANDS: [usize; 23] =
    [0, 6, 12, 18, 24, 30, 36, 44, 54, 66, 80, 96, 116, 140, 168, 200, 238, 284, 336, 396, 464, 522, 576];

/// The first half of the filter bank's window and its middle, times 65,536; the other half mirrors it.
#[rustfmt::skip]
static WINDOW: [i32; 257] = [
    0, -1, -1, -1, -1, -1, -1, -2, -2, -2, -2, -3, -3, -4, -4, -5, -5, -6, -7, -7, -8, -9, -10, -11, -13, -14, -16, -17, -19, -21,
    -24, -26, -29, -31, -35, -38, -41, -45, -49, -53, -58, -63, -68, -73, -79, -85, -91, -97, -104, -111, -117, -125, -132, -139,
    -147, -154, -161, -169, -176, -183, -190, -196, -202, -208, 213, 218, 222, 225, 227, 228, 228, 227, 224, 221, 215, 208, 200, 189,
    177, 163, 146, 127, 106, 83, 57, 29, -2, -36, -72, -111, -153, -197, -244, -294, -347, -401, -459, -519, -581, -645, -711, -779,
    -848, -919, -991, -1064, -1137, -1210, -1283, -1356, -1428, -1498, -1567, -1634, -1698, -1759, -1817, -1870, -1919, -1962, -2001,
    -2032, -2057, -2075, -2085, -2087, -2080, -2063, 2037, 2000, 1952, 1893, 1822, 1739, 1644, 1535, 1414, 1280, 1131, 970, 794, 605,
    402, 185, -45, -288, -545, -814, -1095, -1388, -1692, -2006, -2330, -2663, -3004, -3351, -3705, -4063, -4425, -4788, -5153,
    -5517, -5879, -6237, -6589, -6935, -7271, -7597, -7910, -8209, -8491, -8755, -8998, -9219, -9416, -9585, -9727, -9838, -9916,
    -9959, -9966, -9935, -9863, -9750, -9592, -9389, -9139, -8840, -8492, -8092, -7640, -7134, 6574, 5959, 5288, 4561, 3776, 2935,
    2037, 1082, 70, -998, -2122, -3300, -4533, -5818, -7154, -8540, -9975, -11455, -12980, -14548, -16155, -17799, -19478, -21189,
    -22929, -24694, -26482, -28289, -30112, -31947, -33791, -35640, -37489, -39336, -41176, -43006, -44821, -46617, -48390, -50137,
    -51853, -53534, -55178, -56778, -58333, -59838, -61289, -62684, -64019, -65290, -66494, -67629, -68692, -69679, -70590, -71420,
    -72169, -72835, -73415, -73908, -74313, -74630, -74856, -74992, 75038,
];

/// The filter bank's window (table 3-B.3) at 0 to 511.
pub(super) fn window(n: usize) -> f32 {
    let value = if n <= 256 {
        WINDOW[n]
    } else if n.is_multiple_of(64) {
        WINDOW[512 - n]
    } else {
        -WINDOW[512 - n]
    };
    value as f32 / 65_536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_complete_and_none_begins_another() {
        for table in &TABLES {
            let mut words: Vec<_> = (0..table.side * table.side)
                .map(|at| table.code(at / table.side, at % table.side))
                .map(|(code, length)| (code << (32 - length), length))
                .collect();
            words.sort_unstable();
            let mut next = 0u64;
            for (word, length) in words {
                assert_eq!(u64::from(word), next, "table {}", table.number);
                next += 1 << (32 - length);
            }
            assert_eq!(next, 1 << 32);
        }
    }
}
