//! The program itself as a debug image: with its build id a tracker finds the debug files by which it names addresses.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::OnceLock;

use sentry_types::protocol::v7::{Addr, DebugImage, DebugMeta, SymbolicDebugImage};
use sentry_types::{CodeId, DebugId, Uuid};

/// The type of a program header with notes, and of the note with the build id (System V ABI, "Note Section").
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
/// The most bytes of notes that are read.
const MOST_NOTES: u64 = 64 << 10;

/// Returns the debug image of this program; empty where the system does not tell it, or the program has no build id.
pub(super) fn debug_meta() -> DebugMeta {
    static IMAGE: OnceLock<Option<SymbolicDebugImage>> = OnceLock::new();
    let image = IMAGE.get_or_init(own_image).clone();
    DebugMeta { images: image.map(DebugImage::Symbolic).into_iter().collect(), ..DebugMeta::default() }
}

fn own_image() -> Option<SymbolicDebugImage> {
    let program = std::fs::read_link("/proc/self/exe").ok()?;
    let (image_addr, image_size) = mapping(&std::fs::read_to_string("/proc/self/maps").ok()?, &program)?;
    let build_id = build_id(&mut File::open("/proc/self/exe").ok()?)?;
    let debug_id = DebugId::from_uuid(Uuid::from_bytes_le(*build_id.first_chunk()?));
    Some(SymbolicDebugImage {
        name: program.file_name()?.to_string_lossy().into_owned(),
        arch: Some(std::env::consts::ARCH.to_owned()),
        image_addr: Addr(image_addr),
        image_size,
        image_vmaddr: Addr(0),
        id: debug_id,
        code_id: Some(CodeId::from_binary(&build_id)),
        debug_file: None,
    })
}

/// Returns where the program is mapped and its size, from the lines `start-end permissions offset device inode path`.
fn mapping(maps: &str, program: &Path) -> Option<(u64, u64)> {
    let program = program.to_str()?;
    let mut ranges = maps.lines().filter(|line| line.ends_with(program)).filter_map(|line| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    });
    let first = ranges.next()?;
    let last = ranges.next_back().unwrap_or(first);
    Some((first.0, last.1 - first.0))
}

/// Reads the build id from the notes of a 64-bit ELF file of this machine's byte order.
fn build_id(file: &mut (impl Read + Seek)) -> Option<Vec<u8>> {
    let header = read_at(file, 0, 64)?;
    if !header.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let (table, entry, count) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    (0..u64::from(count)).find_map(|number| {
        let program = read_at(file, table + number * u64::from(entry), 56)?;
        if u32_at(&program, 0)? != PT_NOTE {
            return None;
        }
        let (offset, size) = (u64_at(&program, 8)?, u64_at(&program, 32)?);
        build_id_note(&read_at(file, offset, size.min(MOST_NOTES))?)
    })
}

/// Finds the note of the build id: lengths of name and content, type, and both, each padded to four bytes.
fn build_id_note(mut notes: &[u8]) -> Option<Vec<u8>> {
    loop {
        let (name, content) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize);
        let kind = u32_at(notes, 8)?;
        let begin = 12 + name.next_multiple_of(4);
        let end = begin.checked_add(content)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..12 + name)? == b"GNU\0" {
            return notes.get(begin..end).map(<[u8]>::to_vec);
        }
        notes = notes.get(end.next_multiple_of(4)..)?;
    }
}

fn read_at(file: &mut (impl Read + Seek), offset: u64, length: u64) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_of_a_program_reaches_from_its_first_to_its_last_line() {
        let maps = "1000-2000 r--p 00000000 fe:00 1 /opt/gate\n2000-5000 r-xp 00001000 fe:00 1 /opt/gate\n\
                    9000-a000 rw-p 00000000 00:00 0 [heap]\n";
        assert_eq!(mapping(maps, Path::new("/opt/gate")), Some((0x1000, 0x4000)));
        assert_eq!(mapping(maps, Path::new("/opt/other")), None);
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let note = |kind: u32, content: &[u8]| {
            let mut note = [4, u32::try_from(content.len()).expect("short"), kind].map(u32::to_ne_bytes).concat();
            note.extend_from_slice(b"GNU\0");
            note.extend_from_slice(content);
            note.resize(note.len().next_multiple_of(4), 0);
            note
        };
        let notes = [note(1, b"abi"), note(3, &[7; 20])].concat();
        assert_eq!(build_id_note(&notes), Some(vec![7; 20]));
        assert_eq!(build_id_note(&note(1, b"abi")), None);
        assert_eq!(build_id_note(&notes[..30]), None, "cut off");
    }

    #[test]
    fn this_program_has_an_image() {
        let images = debug_meta().images;
        let [DebugImage::Symbolic(image)] = &images[..] else { panic!("{images:?}") };
        assert!(image.image_addr.0 > 0 && image.image_size > 0 && !image.id.is_nil(), "{image:?}");
    }
}
