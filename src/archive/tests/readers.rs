//! Other programs read streams of blocks of all kinds.

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use super::noise;
use crate::archive::{
    Attributes, BlockEncoder, EntryPath, Span, StreamWriter, TarWriter, XzReader, XzWriter,
    own_blocks,
};

/// A tar of four files, each in a block of its own, of which one is stored and two have a dictionary of
/// 192 KiB; and their contents.
fn archive() -> (Vec<u8>, Vec<u8>) {
    let text = b"text\n".repeat(38_000);
    // With its header it fills what is looked at at once.
    let noise = noise((512 << 10) - 512);
    let sink = StreamWriter::new(Vec::new()).unwrap();
    let mut tar = TarWriter::new(BlockEncoder::new(sink, 2, None), 0);
    tar.directory(&EntryPath::root(), &Attributes::new(0o755)).unwrap();
    let mut contents = Vec::new();
    for (name, content) in [("a", &text), ("b", &noise), ("c", &text), ("d", &Vec::new())] {
        tar.get_mut().part(None, []).unwrap();
        let path = EntryPath::parse(name.as_bytes()).unwrap();
        tar.file(&path, content.len() as u64, &content[..], &Attributes::new(0o644)).unwrap();
        contents.extend_from_slice(content);
    }
    let (encoder, _) = tar.finish().unwrap();
    (encoder.finish().unwrap().finish().unwrap(), contents)
}

/// The same archive, of blocks that are made of the blocks of the first: headers are found anew.
fn made_again(archive: &[u8], tar: &[u8]) -> Vec<u8> {
    let sink = StreamWriter::new(Vec::new()).unwrap();
    let mut encoder = BlockEncoder::new(sink, 2, None);
    let mut rest = tar;
    for block in own_blocks(Cursor::new(archive)).unwrap().unwrap() {
        let (content, others) = rest.split_at(usize::try_from(block.size()).unwrap());
        let (header, content) = content.split_at(512);
        let header = [Span::Dropped(header.to_vec()), Span::Inserted(header.to_vec())];
        let spans = [&header[..], &[Span::Kept(content.len())]].concat();
        encoder.rewrite(&block, Cursor::new(archive), spans).unwrap();
        rest = others;
    }
    encoder.finish().unwrap().finish().unwrap()
}

/// What a program makes of an archive on its standard input; nothing if it isn't installed.
fn read_by(program: &str, archive: &[u8]) -> Option<Vec<u8>> {
    let words: Vec<&str> = match program.split_once(" -c ") {
        Some((interpreter, script)) => vec![interpreter, "-c", script],
        None => program.split(' ').collect(),
    };
    let command = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match command {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        other => other.unwrap(),
    };
    let mut input = child.stdin.take().unwrap();
    let archive = archive.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&archive).unwrap_or_default());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program}");
    Some(output.stdout)
}

const PYTHON_TAR: &str = "python3 -c import sys,tarfile
for tar in [tarfile.open(fileobj=sys.stdin.buffer, mode='r|xz')]:
    for entry in tar:
        if entry.isfile(): sys.stdout.buffer.write(tar.extractfile(entry).read())";

#[test]
fn other_programs_read_blocks_that_are_stored_or_come_from_elsewhere() {
    let (archive, contents) = archive();
    assert!(archive.len() > 512 << 10 && archive.len() < 520 << 10, "one block is stored");
    let mut tar = Vec::new();
    std::io::copy(&mut XzReader::new(&archive[..], 2).unwrap(), &mut tar).unwrap();
    let again = made_again(&archive, &tar);
    assert!(again != archive);
    for archive in [archive, again] {
        for program in ["tar --to-stdout -xJf-", "busybox tar -xJOf-", "bsdtar -xJOf-", PYTHON_TAR]
        {
            let read = read_by(program, &archive);
            assert!(read.is_none_or(|read| read == contents), "{program}");
        }
        for program in [
            "xz -dcT1",
            "xz -dcT2",
            "busybox unxz -c",
            "7z x -txz -si -so",
            "python3 -c import sys,lzma; sys.stdout.buffer.write(lzma.open(sys.stdin.buffer).read())",
            // It stops after the first stream.
            "python3 -c import sys,lzma; sys.stdout.buffer.write(lzma.LZMADecompressor().decompress(sys.stdin.buffer.read()))",
        ] {
            let read = read_by(program, &archive);
            assert!(read.is_none_or(|read| read == tar), "{program}");
        }
    }
}

/// Why ours is one stream: who uses a library's simplest call gets the first one alone.
#[test]
fn not_all_programs_read_several_streams() {
    let stream = |text: &[u8]| {
        let mut writer = XzWriter::new(Vec::new(), 1, None).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    };
    let streams = [stream(b"one"), stream(b"two")].concat();
    for (program, wanted) in [
        ("xz -dc", "onetwo"),
        ("busybox unxz -c", "onetwo"),
        (
            "python3 -c import sys,lzma; print(end=lzma.open(sys.stdin.buffer,'rt').read())",
            "onetwo",
        ),
        (
            "python3 -c import sys,lzma; print(end=lzma.LZMADecompressor().decompress(sys.stdin.buffer.read()).decode())",
            "one",
        ),
    ] {
        let read = read_by(program, &streams);
        assert!(read.is_none_or(|read| read == wanted.as_bytes()), "{program}");
    }
}
