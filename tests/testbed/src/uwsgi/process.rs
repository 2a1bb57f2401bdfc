//! Facts about a process, from `/proc`.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// In bytes. Larger pages are read in parts.
const PAGE: usize = 4096;
/// How many bytes of memory are read at a time, where all of them can be read.
const CHUNK: usize = 1 << 20;

/// A process and all that descend from it.
pub fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        family.extend(children(family[next]));
        next += 1;
    }
    family
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&child| parent(child) == Some(pid))
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state parent ..., and a name may contain anything
    stat.rsplit(')')
        .next()?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// How many threads a process has.
pub fn threads(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    tasks.map_or(0, Iterator::count)
}

/// The files that a process has open.
pub fn open_files(pid: u32) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}

/// This machine's connections to a port, by the names that they have among a process's open files.
pub fn connections_to(port: u16) -> HashSet<String> {
    let mut names = HashSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        for line in table.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[2].ends_with(&format!(":{port:04X}")) {
                names.insert(format!("socket:[{}]", words[9]));
            }
        }
    }
    names
}

/// A number of KiB from `/proc/PID/status`, such as `VmRSS` or `VmHWM`.
pub fn memory_kib(pid: u32, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The kernel's flags for a process's mappings of at least this size, in bytes, from
/// `/proc/PID/smaps`: `dd` is left out of core dumps, `wf` is empty in a child.
///
/// # Errors
/// The process is gone, or belongs to another user.
pub fn flags_of_mappings(pid: u32, least: u64) -> io::Result<Vec<Vec<String>>> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let mut size = 0;
    let mut flags = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Size:") => size = words.next().map_or(0, |kib| kib.parse().unwrap_or(0)) * 1024,
            Some("VmFlags:") if size >= least => flags.push(words.map(String::from).collect()),
            Some(_) | None => {}
        }
    }
    Ok(flags)
}

/// How often each of these occurs in the memory of a process. Pages that cannot be read, such as those
/// past the end of a mapped file, are skipped.
///
/// # Errors
/// The memory cannot be read: no permission, or no such process.
pub fn occurrences<const N: usize>(pid: u32, needles: [&[u8]; N]) -> io::Result<[usize; N]> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let (mut found, mut has_read) = ([0; N], false);
    for line in maps.lines() {
        let Some((start, end)) = readable(line)? else {
            continue;
        };
        for content in contents(&memory, start, end) {
            has_read = true;
            for (found, needle) in found.iter_mut().zip(needles) {
                *found += count(&content, needle);
            }
        }
    }
    match has_read {
        false => Err(io::Error::other("none of its memory could be read")),
        true => Ok(found),
    }
}

/// What is in a range of memory: adjacent pages together, as a needle may cross their border.
fn contents(memory: &File, start: u64, end: u64) -> Vec<Vec<u8>> {
    let mut contents = vec![Vec::new()];
    let (mut at, mut size) = (start, CHUNK);
    while at < end {
        let length = size.min((end - at) as usize);
        let content = contents.last_mut().expect("there is one");
        let before = content.len();
        content.resize(before + length, 0);
        let is_read = memory.read_exact_at(&mut content[before..], at).is_ok();
        if !is_read {
            content.truncate(before);
        }
        match is_read {
            true => at += length as u64,
            // One of its pages cannot be read.
            false if length > PAGE => size = PAGE,
            false => {
                contents.push(Vec::new());
                at += length as u64;
            }
        }
    }
    contents.retain(|content| !content.is_empty());
    contents
}

/// The range of a line of `/proc/PID/maps`, if it may be read.
fn readable(line: &str) -> io::Result<Option<(u64, u64)>> {
    let mut words = line.split_whitespace();
    let (Some(range), Some(rights)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let Some((start, end)) = range.split_once('-') else {
        return Ok(None);
    };
    if !rights.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
        return Ok(None);
    }
    let number = |hex| u64::from_str_radix(hex, 16).map_err(io::Error::other);
    Ok(Some((number(start)?, number(end)?)))
}

fn count(mut haystack: &[u8], needle: &[u8]) -> usize {
    let mut count = 0;
    while !haystack.is_empty() {
        // SAFETY: both are slices, given with their lengths.
        let found = unsafe {
            libc::memmem(
                haystack.as_ptr().cast(),
                haystack.len(),
                needle.as_ptr().cast(),
                needle.len(),
            )
        };
        if found.is_null() {
            break;
        }
        count += 1;
        let offset = found as usize - haystack.as_ptr() as usize;
        haystack = &haystack[offset + 1..];
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_are_counted() {
        assert_eq!(count(b"abcabcab", b"abc"), 2);
        assert_eq!(count(b"", b"abc"), 0);
    }

    #[test]
    fn this_process_is_in_its_family_and_its_memory_is_searched() {
        let pid = std::process::id();
        assert_eq!(family(pid)[0], pid);
        let here = std::hint::black_box(*b"hay-and-a-needle");
        let [needle] = occurrences(pid, [&here]).unwrap();
        assert!(needle > 0);
    }

    #[test]
    fn memory_is_searched_around_a_page_that_cannot_be_read() {
        use std::os::fd::AsRawFd as _;

        let needle = b"a-needle-in-the-first-page";
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(needle, 0).unwrap();
        let (pages, shared) = (3, libc::MAP_SHARED);
        // SAFETY: a new mapping of a file that outlives it.
        let memory = unsafe {
            let (null, fd) = (std::ptr::null_mut(), file.as_raw_fd());
            libc::mmap(null, pages * PAGE, libc::PROT_READ, shared, fd, 0)
        };
        assert_ne!(memory, libc::MAP_FAILED);
        let (this, start) = (File::open("/proc/self/mem").unwrap(), memory as u64);
        let found = contents(&this, start, start + (pages * PAGE) as u64);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].len(), count(&found[0], needle)), (PAGE, 1));
        // SAFETY: nothing refers to it any more.
        unsafe { libc::munmap(memory, pages * PAGE) };
    }
}
