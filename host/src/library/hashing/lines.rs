//! Which file is hashed next.
//!
//! There is a line for each library and disk, and they take turns. In a line small files go
//! first, but none waits for ever: a file's place is its size plus the bytes that had been handed
//! out when it came, so what comes later must be smaller by what was done meanwhile.

use std::collections::{BTreeMap, HashMap};

use crate::library::store::FileKey;

/// What is known of a job to find its turn.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Number of the library.
    pub client: u64,
    /// The disk that the file is on.
    pub disk: u64,
    /// Files of that disk at once; 0 is no bound.
    pub limit: usize,
    /// Size in bytes.
    pub size: u64,
    /// What tells its content; two jobs with one key are one file.
    pub file: Option<FileKey>,
}

#[derive(Debug)]
struct Line<T> {
    client: u64,
    disk: u64,
    limit: usize,
    passed: u64,
    jobs: BTreeMap<(u64, u64), (Ask, T)>,
}

/// All jobs that wait, and what of them is under way.
#[derive(Debug)]
pub struct Lines<T> {
    lines: Vec<Line<T>>,
    turn: usize,
    sequence: u64,
    running: HashMap<u64, usize>,
    // Jobs whose file another one is hashing now.
    followers: HashMap<FileKey, Vec<(Ask, T)>>,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            turn: 0,
            sequence: 0,
            running: HashMap::new(),
            followers: HashMap::new(),
        }
    }
}

impl<T> Lines<T> {
    /// Adds a job.
    pub fn push(&mut self, ask: Ask, job: T) {
        self.sequence += 1;
        let same = |line: &&mut Line<T>| line.client == ask.client && line.disk == ask.disk;
        let line = match self.lines.iter_mut().find(same) {
            Some(line) => line,
            None => {
                self.lines.push(Line {
                    client: ask.client,
                    disk: ask.disk,
                    limit: ask.limit,
                    passed: 0,
                    jobs: BTreeMap::new(),
                });
                let last = self.lines.len() - 1;
                &mut self.lines[last]
            }
        };
        line.limit = ask.limit;
        let place = line.passed.saturating_add(ask.size);
        line.jobs.insert((place, self.sequence), (ask, job));
    }

    /// The next job, if one may start now. [`finished`](Self::finished) must follow.
    pub fn next(&mut self) -> Option<(Ask, T)> {
        for step in 0..self.lines.len() {
            let index = (self.turn + step) % self.lines.len();
            let line = &mut self.lines[index];
            let busy = self.running.get(&line.disk).copied().unwrap_or(0);
            if line.limit > 0 && busy >= line.limit {
                continue;
            }
            while let Some((_, (ask, job))) = line.jobs.pop_first() {
                if let Some(followers) = ask.file.and_then(|file| self.followers.get_mut(&file)) {
                    followers.push((ask, job));
                    continue;
                }
                line.passed = line.passed.saturating_add(ask.size);
                if let Some(file) = ask.file {
                    self.followers.insert(file, Vec::new());
                }
                *self.running.entry(ask.disk).or_default() += 1;
                self.turn = index + 1;
                return Some((ask, job));
            }
        }
        self.lines.retain(|line| !line.jobs.is_empty());
        None
    }

    /// Ends a job that [`next`](Self::next) gave; gives those that wait for the same file.
    pub fn finished(&mut self, ask: &Ask) -> Vec<(Ask, T)> {
        if let Some(running) = self.running.get_mut(&ask.disk) {
            *running = running.saturating_sub(1);
        }
        ask.file
            .and_then(|file| self.followers.remove(&file))
            .unwrap_or_default()
    }

    /// Takes out all jobs of a library that wait.
    pub fn take(&mut self, client: u64) -> Vec<T> {
        let mut taken = Vec::new();
        for line in self.lines.iter_mut().filter(|line| line.client == client) {
            taken.extend(std::mem::take(&mut line.jobs).into_values().map(|(_, job)| job));
        }
        for waiting in self.followers.values_mut() {
            let (own, others) = std::mem::take(waiting)
                .into_iter()
                .partition(|(ask, _)| ask.client == client);
            *waiting = others;
            let own: Vec<(Ask, T)> = own;
            taken.extend(own.into_iter().map(|(_, job)| job));
        }
        taken
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        let followers: usize = self.followers.values().map(Vec::len).sum();
        self.lines.iter().map(|line| line.jobs.len()).sum::<usize>() + followers
    }

    /// Jobs that were started and have not ended.
    pub fn running(&self) -> usize {
        self.running.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(client: u64, disk: u64, limit: usize, size: u64) -> Ask {
        Ask {
            client,
            disk,
            limit,
            size,
            file: None,
        }
    }

    fn same_file(size: u64) -> Ask {
        let file = FileKey {
            disk: 1,
            inode: 2,
            size,
            mtime_ns: 3,
        };
        Ask {
            file: Some(file),
            ..ask(1, 1, 0, size)
        }
    }

    #[test]
    fn small_files_go_first_but_no_large_one_waits_for_ever() {
        let mut lines = Lines::default();
        lines.push(ask(1, 1, 0, 100), "large");
        let mut before = 0;
        loop {
            lines.push(ask(1, 1, 0, 10), "small");
            match lines.next() {
                Some((_, "large")) => break,
                Some(_) => before += 1,
                None => panic!("nothing to do"),
            }
            assert!(before < 100, "the large file starves");
        }
        assert_eq!(before, 9);
    }

    #[test]
    fn libraries_take_turns() {
        let mut lines = Lines::default();
        for _ in 0..3 {
            lines.push(ask(1, 1, 0, 1), "a");
        }
        lines.push(ask(2, 1, 0, 1_000), "b");
        let order: Vec<_> = std::iter::from_fn(|| lines.next()).map(|(_, job)| job).collect();
        assert_eq!(order, ["a", "b", "a", "a"]);
    }

    #[test]
    fn a_disk_has_no_more_at_once_than_its_bound_and_others_go_on() {
        let mut lines = Lines::default();
        lines.push(ask(1, 1, 1, 1), "slow 1");
        lines.push(ask(1, 1, 1, 2), "slow 2");
        lines.push(ask(1, 2, 0, 9), "fast");
        let first = lines.next().unwrap();
        assert_eq!((first.1, lines.next().unwrap().1), ("slow 1", "fast"));
        assert!(lines.next().is_none());
        assert_eq!((lines.waiting(), lines.running()), (1, 2));
        lines.finished(&first.0);
        assert_eq!(lines.next().unwrap().1, "slow 2");
    }

    #[test]
    fn two_names_of_one_file_are_one_job() {
        let mut lines = Lines::default();
        lines.push(same_file(5), "a");
        lines.push(same_file(5), "b");
        let first = lines.next().unwrap();
        assert!(lines.next().is_none());
        assert_eq!(lines.waiting(), 1);
        let followers = lines.finished(&first.0);
        assert_eq!(followers.into_iter().map(|(_, job)| job).collect::<Vec<_>>(), ["b"]);
        assert_eq!((lines.waiting(), lines.running()), (0, 0));
    }

    #[test]
    fn jobs_of_one_library_can_be_taken_out() {
        let mut lines = Lines::default();
        lines.push(same_file(5), "running");
        let running = lines.next().unwrap();
        lines.push(same_file(5), "follower");
        assert!(lines.next().is_none());
        lines.push(ask(1, 1, 0, 1), "waiting");
        lines.push(ask(2, 1, 0, 1), "another's");
        let mut taken = lines.take(1);
        taken.sort_unstable();
        assert_eq!(taken, ["follower", "waiting"]);
        assert!(lines.finished(&running.0).is_empty());
        assert_eq!(lines.next().unwrap().1, "another's");
    }
}
