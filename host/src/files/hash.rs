//! SHA-256 and BLAKE3 of whole files in one streamed pass.
//!
//! SHA-256 is the slow one: with the processor's own instructions it does about 1.6 GB/s a
//! thread, and nothing but a second file makes it faster. So one thread does nothing else, while
//! the other reads the next block and takes its BLAKE3 as long as it is in the near cache. Where there are as many files
//! as processors, each has one thread, which takes both from each piece: nothing is left for a second thread to run on.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::mpsc;
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// What is read and given to BLAKE3 at once: small enough to stay in a processor's second cache.
const PIECE: usize = 256 << 10;
/// Blocks of one hasher: one is being read, one waits, one is being hashed.
const BLOCKS: usize = 3;
/// A block starts on a page. `read` copies with `rep movsb`, which on many processors is four
/// times slower (2.6 instead of 11.6 GB/s on an EPYC) when the target lies a few bytes behind
/// the source within the page, as memory of the allocator does.
const PAGE: usize = 4096;
/// What was read is dropped from the page cache whenever this much has come together.
const DROP_EVERY: u64 = 64 << 20;

/// Why a file was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The job was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Both digests of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// BLAKE3.
    pub blake3: [u8; 32],
    /// Bytes that were hashed.
    pub bytes: u64,
}

/// Hashes one file after another, with buffers and a helping thread that it keeps between them.
pub struct FileHasher {
    size: usize,
    spare: Vec<Block>,
    allocated: usize,
    helper: Option<Helper>,
    alone: bool,
    crowded: bool,
}

impl FileHasher {
    /// A hasher that reads so many bytes at once. Memory is taken when the first file comes.
    pub fn new(block: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            size: block.max(PAGE),
            spare: Vec::new(),
            allocated: 0,
            helper: None,
            alone: processors < 2,
            crowded: false,
        }
    }

    /// One that never takes a second thread, for small files.
    pub fn alone(block: usize) -> Self {
        Self {
            alone: true,
            ..Self::new(block)
        }
    }

    /// Says whether other files keep the other processors busy, so that the next ones are hashed by one thread each.
    pub fn set_crowded(&mut self, crowded: bool) {
        self.crowded = crowded;
    }

    /// Digests of a file from where it stands to its end. `next` is asked before each block,
    /// with the bytes read since it was asked last; it may wait, and `false` ends the work.
    ///
    /// # Errors
    /// When the file can't be read to its end, or `next` said so.
    pub fn file(&mut self, file: &File, next: &mut dyn FnMut(u64) -> bool) -> Result<Digests, HashError> {
        advise(file, 0, 0, Advice::Sequential);
        let mut reading = Reading {
            file,
            position: 0,
            dropped: 0,
            blake3: blake3::Hasher::new(),
            sha256: (self.alone || self.crowded).then(Sha256::new),
        };
        let result = self.stream(&mut reading, next);
        advise(file, reading.dropped, 0, Advice::DontNeed);
        let sha256 = match result {
            Ok(sha256) => sha256,
            Err(error) => {
                // What is left of the file must not get into the next one.
                self.helper = None;
                self.spare.clear();
                self.allocated = 0;
                return Err(error);
            }
        };
        Ok(Digests {
            sha256,
            blake3: *reading.blake3.finalize().as_bytes(),
            bytes: reading.position,
        })
    }

    fn stream(&mut self, reading: &mut Reading, next: &mut dyn FnMut(u64) -> bool) -> Result<[u8; 32], HashError> {
        let mut sha256 = Sha256::new();
        let (mut since, mut handed_over) = (0, false);
        loop {
            if !next(since) {
                return Err(HashError::Cancelled);
            }
            let mut block = self.free_block()?;
            let is_last = reading.fill(&mut block)?;
            since = block.filled as u64;
            // A file of one block is not worth waking another thread for.
            let own = reading.sha256.is_some();
            let helped = handed_over || (!own && !is_last && self.start_helper());
            if helped {
                handed_over = true;
                self.hand_over(Work::Block(block))?;
            } else {
                if !own {
                    sha256.update(block.content());
                }
                self.spare.push(block);
            }
            if is_last {
                break;
            }
        }
        // Reports the last block; the work is done, so the answer does not matter.
        next(since);
        if !handed_over {
            return Ok(reading.sha256.take().unwrap_or(sha256).finalize().into());
        }
        self.hand_over(Work::End)?;
        let helper = self.helper.as_ref().ok_or_else(helper_ended)?;
        let digest = helper.digests.recv().map_err(|_| helper_ended())?;
        self.spare.extend(helper.emptied.try_iter());
        Ok(digest)
    }

    fn free_block(&mut self) -> Result<Block, HashError> {
        if let Some(block) = self.spare.pop() {
            return Ok(block);
        }
        if self.allocated < BLOCKS {
            self.allocated += 1;
            return Ok(Block::new(self.size));
        }
        let helper = self.helper.as_ref().ok_or_else(helper_ended)?;
        helper.emptied.recv().map_err(|_| helper_ended().into())
    }

    fn hand_over(&self, work: Work) -> Result<(), HashError> {
        let helper = self.helper.as_ref().ok_or_else(helper_ended)?;
        let sender = helper.work.as_ref().ok_or_else(helper_ended)?;
        sender.send(work).map_err(|_| helper_ended().into())
    }

    /// Whether there is a helping thread.
    fn start_helper(&mut self) -> bool {
        if self.helper.is_none() {
            self.helper = Helper::start();
            self.alone = self.helper.is_none();
        }
        !self.alone
    }
}

fn helper_ended() -> std::io::Error {
    std::io::Error::other("the thread that computes SHA-256 has ended")
}

enum Work {
    Block(Block),
    End,
}

/// The thread that computes SHA-256.
struct Helper {
    work: Option<mpsc::Sender<Work>>,
    emptied: mpsc::Receiver<Block>,
    digests: mpsc::Receiver<[u8; 32]>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    /// Priority is inherited from the thread that calls.
    fn start() -> Option<Self> {
        let (work, received) = mpsc::channel();
        let (emptied_sender, emptied) = mpsc::channel();
        let (digest_sender, digests) = mpsc::channel();
        let thread = std::thread::Builder::new().name("sha256".into()).spawn(move || {
            let mut sha256 = Sha256::new();
            for work in received {
                let sent = match work {
                    Work::Block(block) => {
                        sha256.update(block.content());
                        emptied_sender.send(block).is_ok()
                    }
                    Work::End => digest_sender.send(sha256.finalize_reset().into()).is_ok(),
                };
                if !sent {
                    return;
                }
            }
        });
        Some(Self {
            work: Some(work),
            emptied,
            digests,
            thread: Some(thread.ok()?),
        })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.work.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A buffer that starts on a page.
struct Block {
    bytes: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Block {
    fn new(size: usize) -> Self {
        let bytes = vec![0; size + PAGE];
        // Where there is no such place, any other will do.
        let start = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Self {
            bytes,
            start,
            filled: 0,
        }
    }

    fn content(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.filled]
    }
}

/// A file on its way through the buffers.
struct Reading<'f> {
    file: &'f File,
    position: u64,
    dropped: u64,
    blake3: blake3::Hasher,
    // Where the thread that reads computes it too.
    sha256: Option<Sha256>,
}

impl Reading<'_> {
    /// Fills a block, and takes the digests that are taken here; whether the file ended.
    fn fill(&mut self, block: &mut Block) -> std::io::Result<bool> {
        let (start, size) = (block.start, block.bytes.len() - PAGE);
        advise(self.file, self.position + size as u64, size as u64, Advice::WillNeed);
        block.filled = 0;
        let mut is_last = false;
        while block.filled < size && !is_last {
            let piece = PIECE.min(size - block.filled);
            let space = &mut block.bytes[start + block.filled..start + block.filled + piece];
            let mut read = 0;
            while read < piece && !is_last {
                match self.file.read(&mut space[read..]) {
                    Ok(0) => is_last = true,
                    Ok(bytes) => read += bytes,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.blake3.update(&space[..read]);
            if let Some(sha256) = &mut self.sha256 {
                sha256.update(&space[..read]);
            }
            block.filled += read;
        }
        crate::metrics::content_read(block.filled as u64);
        self.position += block.filled as u64;
        if self.position - self.dropped >= DROP_EVERY {
            advise(self.file, self.dropped, self.position - self.dropped, Advice::DontNeed);
            self.dropped = self.position;
        }
        Ok(is_last)
    }
}

#[derive(Clone, Copy)]
enum Advice {
    Sequential,
    WillNeed,
    DontNeed,
}

/// Tells the kernel how a stretch of a file is read (a length of 0 is all to the end), so that the
/// disk works ahead, and hashing a library does not push everything else out of the page cache.
/// Failing is harmless.
#[cfg(target_os = "linux")]
fn advise(file: &File, from: u64, length: u64, advice: Advice) {
    let advice = match advice {
        Advice::Sequential => rustix::fs::Advice::Sequential,
        Advice::WillNeed => rustix::fs::Advice::WillNeed,
        Advice::DontNeed => rustix::fs::Advice::DontNeed,
    };
    let _ = rustix::fs::fadvise(file, from, std::num::NonZeroU64::new(length), advice);
}

#[cfg(not(target_os = "linux"))]
fn advise(_: &File, _: u64, _: u64, _: Advice) {}

/// Lets the system forget what it holds of a file in memory, so that the disk is read next.
pub(super) fn forget_cached(file: &File) {
    advise(file, 0, 0, Advice::DontNeed);
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of exactly `2 N` hex digits in any case.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_what_it_wrote_in_any_case_and_nothing_else() {
        let bytes = [0, 1, 0xab, 0xff];
        assert_eq!(hex(&bytes), "0001abff");
        assert_eq!(parse_hex::<4>("0001ABff"), Some(bytes));
        assert_eq!(parse_hex::<4>("0001ABf"), None);
        assert_eq!(parse_hex::<4>("0001ABfg"), None);
    }

    fn written(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn digests_of_known_texts_are_those_of_the_standards() {
        let digests = FileHasher::new(1 << 20).file(&written(b"abc"), &mut |_| true).unwrap();
        assert_eq!(
            hex(&digests.sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(&digests.blake3),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
    }

    #[test]
    fn files_of_any_length_have_the_digests_of_their_bytes_with_and_without_a_helper() {
        const BLOCK: usize = 64 << 10;
        let bytes: Vec<u8> = (0..20 * BLOCK + 3).map(|at| (at * 31 + at / 251) as u8).collect();
        let (mut paired, mut alone, mut crowded) =
            (FileHasher::new(BLOCK), FileHasher::alone(BLOCK), FileHasher::new(BLOCK));
        crowded.set_crowded(true);
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, bytes.len()] {
            let content = &bytes[..length];
            for hasher in [&mut paired, &mut alone, &mut crowded] {
                let mut reported = 0;
                let digests = hasher.file(&written(content), &mut |bytes| {
                    reported += bytes;
                    true
                });
                let expected = Digests {
                    sha256: Sha256::digest(content).into(),
                    blake3: *blake3::hash(content).as_bytes(),
                    bytes: length as u64,
                };
                assert_eq!((digests.unwrap(), reported), (expected, length as u64), "{length}");
            }
        }
    }

    #[test]
    fn a_cancelled_file_leaves_nothing_behind_for_the_next() {
        const BLOCK: usize = 16 << 10;
        let mut hasher = FileHasher::new(BLOCK);
        let mut blocks = 0;
        let cancelled = hasher.file(&written(&vec![7; 9 * BLOCK]), &mut |_| {
            blocks += 1;
            blocks < 5
        });
        assert!(matches!(cancelled, Err(HashError::Cancelled)));
        let next = hasher.file(&written(&vec![8; 4 * BLOCK]), &mut |_| true).unwrap();
        assert_eq!(next.sha256, <[u8; 32]>::from(Sha256::digest(vec![8; 4 * BLOCK])));
    }
}
