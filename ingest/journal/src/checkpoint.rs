//! A consumer's place in a journal, in a small file that is either the old one or the new one.
//!
//! ```text
//! 0   magic "WHENCEC\0"     32  offset          56        note
//! 8   version (u32)         40  flags (u64)     56+len    crc32c of all before
//! 12  note length (u32)     48  intent                    all little-endian
//! 16  incarnation
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::position::{Incarnation, Position};

const MAGIC: &[u8; 8] = b"WHENCEC\0";
const VERSION: u32 = 1;
const FIXED_BYTES: usize = 56;
const HAS_INTENT: u64 = 1;

/// The most a checkpoint's note may be. Arbitrary: a note is a remark, not a store.
pub const NOTE_BYTES_MAX: usize = 64 << 10;

/// What a consumer knows it has dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Next to read: everything before is dealt with.
    pub position: Position,
    /// An offset of the same incarnation: the consumer has begun on `[position.offset, intent)` and,
    /// if it dies, must do exactly that range again.
    pub intent: Option<u64>,
    /// Anything else the consumer needs back, at most [`NOTE_BYTES_MAX`] bytes.
    pub note: Vec<u8>,
}

/// What was found where a checkpoint should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// No file: a consumer that has not begun.
    Absent,
    /// A file that is not a checkpoint (or a later version's). Starting over is the caller's decision,
    /// since it does everything again that is still in the journal.
    Damaged,
    /// A checkpoint.
    Intact(Checkpoint),
}

impl Checkpoint {
    /// Replaces the checkpoint at `path`; when this returns, it is on the disk.
    ///
    /// One owner per path: two savers would share a temporary file.
    ///
    /// # Errors
    /// The disk's, or `InvalidInput` for too long a note. The old checkpoint then still stands,
    /// unless the very last step failed, syncing the directory: then either may.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if self.note.len() > NOTE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the note of a checkpoint is too long"));
        }
        let mut temporary = OsString::from(path);
        temporary.push(".tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }

    /// Reads the checkpoint at `path`.
    ///
    /// # Errors
    /// Only the disk's; absent and damaged are answers.
    pub fn load(path: &Path) -> io::Result<Stored> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::Absent),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take((FIXED_BYTES + NOTE_BYTES_MAX + 5) as u64).read_to_end(&mut bytes)?;
        Ok(Self::decode(&bytes).map_or(Stored::Damaged, Stored::Intact))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_BYTES + self.note.len() + 4);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.note.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.position.incarnation.0.to_le_bytes());
        out.extend_from_slice(&self.position.offset.to_le_bytes());
        out.extend_from_slice(&if self.intent.is_some() { HAS_INTENT } else { 0 }.to_le_bytes());
        out.extend_from_slice(&self.intent.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.note);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut rest = content;
        let magic = take::<8>(&mut rest)?;
        let version = u32::from_le_bytes(take(&mut rest)?);
        let note_len = u32::from_le_bytes(take(&mut rest)?) as usize;
        let incarnation = Incarnation(u128::from_le_bytes(take(&mut rest)?));
        let offset = u64::from_le_bytes(take(&mut rest)?);
        let flags = u64::from_le_bytes(take(&mut rest)?);
        let intent = u64::from_le_bytes(take(&mut rest)?);
        let is_ours = magic == *MAGIC && version == VERSION && rest.len() == note_len;
        is_ours.then(|| Checkpoint {
            position: Position { incarnation, offset },
            intent: (flags & HAS_INTENT != 0).then_some(intent),
            note: rest.to_vec(),
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let position = Position { incarnation: Incarnation::mint(None), offset: 71 };
        Checkpoint { position, intent: Some(90), note: b"clicks".to_vec() }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let bytes = checkpoint().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&flipped), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Checkpoint::decode(&bytes[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn absent_damaged_and_intact_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shipper.checkpoint");
        assert_eq!(Checkpoint::load(&path).unwrap(), Stored::Absent);
        fs::write(&path, b"").unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), Stored::Damaged);
        checkpoint_round_trip(&path, &checkpoint());
        checkpoint_round_trip(&path, &Checkpoint { intent: None, note: Vec::new(), ..checkpoint() });
    }

    fn checkpoint_round_trip(path: &Path, checkpoint: &Checkpoint) {
        checkpoint.save(path).unwrap();
        assert_eq!(Checkpoint::load(path).unwrap(), Stored::Intact(checkpoint.clone()));
    }

    #[test]
    fn a_save_that_died_half_way_leaves_the_old_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let old = checkpoint();
        old.save(&path).unwrap();
        fs::write(dir.path().join("checkpoint.tmp"), &checkpoint().encode()[..20]).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), Stored::Intact(old));
    }

    #[test]
    fn too_long_a_note_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let long = Checkpoint { note: vec![0; NOTE_BYTES_MAX + 1], ..checkpoint() };
        assert_eq!(long.save(&path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Checkpoint::load(&path).unwrap(), Stored::Absent);
        checkpoint_round_trip(&path, &Checkpoint { note: vec![1; NOTE_BYTES_MAX], ..checkpoint() });
    }
}
