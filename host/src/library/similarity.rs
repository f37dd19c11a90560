//! How alike two texts are: the Ratcliff/Obershelp ratio, 2 M / T, where M counts the
//! characters in matching blocks and T all characters of both.
//!
//! Source: Ratcliff and Metzener, "Pattern Matching: The Gestalt Approach", Dr. Dobb's
//! Journal, July 1988. Ties between blocks go to the earliest in `a`, then in `b`, since
//! clients compare results with Python's `difflib`.

/// Whether the ratio reaches `threshold`, with cheap upper bounds tried first.
pub fn at_least(a: &str, b: &str, threshold: f64) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let total = a.len() + b.len();
    if total == 0 {
        return true;
    }
    let reaches = |matches: usize| 2.0 * matches as f64 / total as f64 >= threshold;
    reaches(a.len().min(b.len())) && reaches(common(&a, &b)) && reaches(matching(&a, &b))
}

/// What tells without looking at the characters that two words can't be alike: how many
/// characters a word has, and which of 32 classes of characters occur in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sketch {
    length: u16,
    classes: u32,
}

impl Sketch {
    /// The sketch of a word.
    pub fn of(word: &str) -> Self {
        let (mut length, mut classes) = (0u16, 0);
        for c in word.chars() {
            length = length.saturating_add(1);
            // Letters of one alphabet lie beside each other, so that each has a class of its own.
            classes |= 1 << (u32::from(c) % 32);
        }
        Self { length, classes }
    }

    /// The sketch of a word of ASCII characters.
    pub fn of_ascii(word: &[u8]) -> Self {
        Self {
            length: word.len().min(usize::from(u16::MAX)) as u16,
            classes: word.iter().fold(0, |classes, byte| classes | 1 << (byte % 32)),
        }
    }
}

/// The sketches of many words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sketches {
    // Apart, so that the classes of several words are compared by one instruction.
    lengths: Box<[u16]>,
    classes: Box<[u32]>,
}

impl FromIterator<Sketch> for Sketches {
    fn from_iter<I: IntoIterator<Item = Sketch>>(sketches: I) -> Self {
        let (lengths, classes): (Vec<u16>, Vec<u32>) =
            sketches.into_iter().map(|own| (own.length, own.classes)).unzip();
        Self {
            lengths: lengths.into(),
            classes: classes.into(),
        }
    }
}

impl Sketches {
    /// Indices of the words that may be alike, ascending.
    pub fn like<'s>(&'s self, likeness: &'s Likeness) -> impl Iterator<Item = usize> + 's {
        let blocks = self.classes.chunks(BLOCK).enumerate();
        blocks.flat_map(move |(block, classes)| {
            let mut some = likeness.among(classes);
            let in_block = std::iter::from_fn(move || {
                let index = some.trailing_zeros() as usize;
                // Clears the lowest bit.
                some &= some.wrapping_sub(1);
                (index < BLOCK).then_some(block * BLOCK + index)
            });
            in_block.filter(|index| {
                let sketch = (self.lengths.get(*index), self.classes.get(*index));
                let (Some(&length), Some(&classes)) = sketch else {
                    return false;
                };
                likeness.may_reach(Sketch { length, classes })
            })
        })
    }
}

/// Words that are compared together; as many as a mask has bits.
const BLOCK: usize = 64;

/// Lengths of words for which it is known beforehand how much must match.
const LENGTHS: usize = 256;

/// A word as others are compared with it, by their sketches alone.
#[derive(Debug, Clone)]
pub struct Likeness {
    own: Sketch,
    // Of each length of another word how many of its characters, and of the own ones, may be without a match; none
    // where no word of that length reaches the threshold.
    spare: [Option<(u8, u8)>; LENGTHS],
    // The most of each, whatever length the other word has.
    most: (u8, u8),
}

impl Likeness {
    /// With words that reach this ratio with the one of the sketch.
    pub fn new(own: Sketch, threshold: f64) -> Self {
        let length = usize::from(own.length);
        // A hair less, since the ratio itself is computed in another way.
        let needed = |other: usize| (threshold * (length + other) as f64 / 2.0 - 1e-9).ceil().max(0.0) as usize;
        let spare = std::array::from_fn(|other| {
            let needed = needed(other);
            let spare = |length: usize| Some(length.checked_sub(needed)?.min(usize::from(u8::MAX)) as u8);
            Some((spare(other)?, spare(length)?))
        });
        let most = if needed(LENGTHS) > length {
            let of_each = spare.iter().flatten();
            of_each.fold((0, 0), |most: (u8, u8), own: &(u8, u8)| {
                (most.0.max(own.0), most.1.max(own.1))
            })
        } else {
            // Longer words may be alike, too, and can have any classes.
            (u8::MAX, u8::MAX)
        };
        Self { own, spare, most }
    }

    /// Of up to [`BLOCK`] words those whose classes fit one length at least, a bit for each.
    fn among(&self, others: &[u32]) -> u64 {
        // Loops over all words with one step each become loops over several words at a time.
        let (mut theirs, mut own) = ([u32::MAX; BLOCK], [u32::MAX; BLOCK]);
        for ((theirs, own), classes) in theirs.iter_mut().zip(&mut own).zip(others) {
            *theirs = classes & !self.own.classes;
            *own = self.own.classes & !classes;
        }
        for (bits, most) in [(&mut theirs, self.most.0), (&mut own, self.most.1)] {
            for _ in 0..most.min(32) {
                bits.iter_mut().for_each(|bits| *bits &= bits.wrapping_sub(1));
            }
        }
        let mut some = 0;
        for (index, (theirs, own)) in theirs.iter().zip(&own).enumerate().take(others.len()) {
            some |= u64::from(theirs | own == 0) << index;
        }
        some
    }

    /// False only where [`at_least`] is false for the words of the two sketches.
    pub fn may_reach(&self, other: Sketch) -> bool {
        match self.spare.get(usize::from(other.length)) {
            // Each class that only one word has stands for a character of it without a match.
            Some(Some((theirs, own))) => {
                has_at_most(other.classes & !self.own.classes, *theirs)
                    && has_at_most(self.own.classes & !other.classes, *own)
            }
            Some(None) => false,
            None => true,
        }
    }
}

/// Whether so many bits are set, or fewer. Quicker than counting them: it is hardly ever more than two.
fn has_at_most(mut bits: u32, count: u8) -> bool {
    for _ in 0..count.min(32) {
        bits &= bits.wrapping_sub(1);
    }
    bits == 0
}

/// Characters that both have, order ignored.
fn common(a: &[char], b: &[char]) -> usize {
    let mut left = b.to_vec();
    a.iter()
        .filter(|c| {
            left.iter()
                .position(|other| other == *c)
                .map(|index| left.swap_remove(index))
                .is_some()
        })
        .count()
}

/// Characters in matching blocks. The stack holds stretches still to be compared, so that
/// long texts can't use up the thread's own.
fn matching(a: &[char], b: &[char]) -> usize {
    let mut todo = vec![(0..a.len(), 0..b.len())];
    let mut sum = 0;
    while let Some((in_a, in_b)) = todo.pop() {
        let (start_a, start_b, size) = longest(&a[in_a.clone()], &b[in_b.clone()]);
        if size == 0 {
            continue;
        }
        sum += size;
        let (block_a, block_b) = (in_a.start + start_a, in_b.start + start_b);
        todo.push((in_a.start..block_a, in_b.start..block_b));
        todo.push((block_a + size..in_a.end, block_b + size..in_b.end));
    }
    sum
}

/// Start in `a`, start in `b` and length of the longest common stretch.
fn longest(a: &[char], b: &[char]) -> (usize, usize, usize) {
    let mut best = (0, 0, 0);
    let mut lengths = vec![0usize; b.len() + 1];
    for (index_a, c) in a.iter().enumerate() {
        let mut previous = 0;
        for (index_b, other) in b.iter().enumerate() {
            let above = lengths[index_b + 1];
            let length = if c == other { previous + 1 } else { 0 };
            lengths[index_b + 1] = length;
            previous = above;
            if length > best.2 {
                best = (index_a + 1 - length, index_b + 1 - length, length);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{Likeness, Sketch, Sketches, at_least};

    proptest::proptest! {
        #[test]
        fn a_sketch_never_rules_out_what_is_alike(a in "[a-eA0é]{0,9}|[a-z]{250,260}", b in "[a-eA0é]{0,9}|[a-z]{250,260}") {
            for threshold in [0.5, 0.85, 1.0] {
                let likeness = Likeness::new(Sketch::of(&a), threshold);
                let (alike, may_be) = (at_least(&a, &b, threshold), likeness.may_reach(Sketch::of(&b)));
                proptest::prop_assert!(may_be || !alike);
                // Of many at once as many are told apart as alone, or more where a word is very long.
                let many: Sketches = std::iter::repeat_n(Sketch::of(&b), 70).collect();
                let found = many.like(&likeness).count();
                proptest::prop_assert!(found == 70 || !alike);
                let as_alone = found == 70 * usize::from(may_be);
                proptest::prop_assert!(as_alone || (found == 0 && b.len() >= 256));
            }
        }
    }

    #[test]
    fn a_sketch_rules_out_other_lengths_and_other_letters() {
        let reaches = |a, b| Likeness::new(Sketch::of(a), 0.85).may_reach(Sketch::of(b));
        assert!(reaches("ember", "ember") && reaches("ember", "embers") && reaches("ember", "embre"));
        assert!(!reaches("ember", "amber") && !reaches("ember", "emberly") && !reaches("ember", "glass"));
    }

    #[test]
    fn ratios_are_those_of_the_published_method() {
        // 2 * 3 / 8
        assert!(at_least("abcd", "bcde", 0.75) && !at_least("abcd", "bcde", 0.76));
        assert!(at_least("watercolor", "watercolour", 0.85));
        assert!(!at_least("anime", "enemy", 0.85));
        assert!(at_least("", "", 1.0) && !at_least("a", "", 0.1));
    }
}
