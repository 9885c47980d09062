//! A journal's folder with any bytes in it: what is read is what was written, or said to be damaged.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use common::*;
use whence_journal::{Payload, Reader};

#[test]
fn fuzz_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    append_run(&mut writer, 20, 100);
    drop(writer);
    let segments = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let path = segments().find(|path| path.extension().is_some_and(|end| end == "seg")).unwrap();
    let whole = fs::read(&path).unwrap();
    bolero::check!().with_type::<(u16, Vec<u8>)>().for_each(|(at, bytes)| {
        fs::write(&path, &whole).unwrap();
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(u64::from(*at) % whole.len() as u64)).unwrap();
        file.write_all(bytes).unwrap();
        drop(file);
        // A version that is not known is refused as a whole.
        let mut read = Vec::new();
        let mut reader = Reader::open(dir.path(), None);
        while matches!(reader.read(1000, 1 << 20, &mut read), Ok(outcome) if !outcome.caught_up) {}
        for record in &read {
            if let Payload::Intact(payload) = &record.payload {
                assert!(payload.len() == 100 && payload.iter().all(|byte| *byte == payload[0]), "{record:?}");
            }
        }
    });
}
