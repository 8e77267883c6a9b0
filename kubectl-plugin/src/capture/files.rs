//! Where the packets go: one stream of all pods or one for each, in one file or in several, one after another.
//!
//! Here is decided what is written; a thread writes it, because a pipe whose reader waits must not make sessions wait
//! that end at Ctrl-C.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use capture::pcap::Packet;
use capture::pcapng::{self, Counts, Head, Interface};
use capture::rotation::{Rotation, Turn};
use capture::section::Section;
use tokio::sync::{mpsc, oneshot};

use crate::stdio::write_piece;

/// Pieces that wait for the thread: one that it writes, one ready.
const QUEUE: usize = 2;

/// Bytes that are gathered while the thread writes; past them packets wait in their order.
const GATHERED: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketFileError {
    #[error("cannot create {}", path.display())]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write packets")]
    Write(#[source] io::Error),
    #[error("cannot start a thread that writes")]
    Thread(#[source] io::Error),
}

impl PacketFileError {
    /// The thread that writes has ended with it.
    pub(crate) fn is_of_the_thread(&self) -> bool {
        matches!(self, Self::Write(_))
    }

    /// The reader has had enough, which is no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What is done with the packets.
#[derive(Debug)]
pub(crate) enum Destination {
    /// A file that is open already: stdout, or the pipe to Wireshark.
    Open(File),
    /// Files by this name.
    Named(PathBuf),
    /// A file for each source in this folder.
    Split(PathBuf),
}

/// Packets of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) packets: u64,
    /// As they were on the wire.
    pub(crate) bytes: u64,
}

enum Job {
    /// What comes next for this stream goes here.
    File(usize, File),
    /// With what each source of the stream has in its files after it.
    Bytes(usize, Vec<u8>, Vec<Sum>),
}

/// What the thread has written, by stream and source.
type Done = Arc<Mutex<Vec<Vec<Sum>>>>;

/// The end of all writing: everything is written, or why not.
pub(crate) type Written = oneshot::Receiver<Result<(), PacketFileError>>;

struct Stream {
    section: Section,
    /// Where its files are, by the name of the first; `None` if it has one that was open before.
    template: Option<PathBuf>,
    /// What is not given to the thread yet.
    gathered: Vec<u8>,
    /// Of each source, with what is gathered.
    sums: Vec<Sum>,
    /// Of the file that is open.
    size: u64,
    opened: Instant,
    files: u32,
}

/// Where packets of one source go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    stream: usize,
    interface: u32,
}

/// All files of a capture.
pub(crate) struct PacketFiles {
    head: Head,
    rotation: Rotation,
    folder: Option<PathBuf>,
    /// Of addresses: what every stream begins with.
    names: Vec<(IpAddr, String)>,
    streams: Vec<Stream>,
    /// What the thread has to do before what is gathered: a file is ended by the next.
    pending: VecDeque<Job>,
    jobs: mpsc::Sender<Job>,
    done: Done,
    /// Bytes of all files, those that are only gathered included.
    total: u64,
}

impl PacketFiles {
    /// Opens what can be opened before there is a source, so that what is wrong with it shows first.
    pub(crate) fn open(
        destination: Destination,
        head: Head,
        rotation: Rotation,
    ) -> Result<(Self, Written), PacketFileError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (tell, written) = oneshot::channel();
        let done = Done::default();
        let told = Arc::clone(&done);
        let write = move || {
            let _ = tell.send(write_all(queue, &told).map_err(PacketFileError::Write)); // read until the end
        };
        let thread = std::thread::Builder::new().name("packets".to_owned());
        thread.spawn(write).map_err(PacketFileError::Thread)?;
        let (streams, pending) = (Vec::new(), VecDeque::new());
        let (folder, names) = (None, Vec::new());
        let mut files =
            Self { head, rotation, folder, names, streams, pending, jobs, done, total: 0 };
        match destination {
            Destination::Open(file) => files.begin(None, Some(file))?,
            Destination::Named(path) => files.begin(Some(path), None)?,
            Destination::Split(folder) => {
                std::fs::create_dir_all(&folder)
                    .map_err(|source| PacketFileError::Create { path: folder.clone(), source })?;
                files.folder = Some(folder);
            }
        }
        Ok((files, written))
    }

    /// Adds a source, which began at `time`. `name` is that of its file, where each has one.
    pub(crate) fn add(
        &mut self,
        interface: Interface,
        name: &str,
        time: u64,
    ) -> Result<Place, PacketFileError> {
        if let Some(folder) = &self.folder {
            let path = folder.join(format!("{name}.pcapng"));
            self.begin(Some(path), None)?;
        }
        let stream = self.streams.len() - 1;
        let of = &mut self.streams[stream];
        of.sums.push(Sum::default());
        let interface = of.write(&mut self.total, |section, out| section.add(interface, time, out));
        Ok(Place { stream, interface })
    }

    /// Names of addresses, for all streams, also for those that are added later.
    pub(crate) fn name(&mut self, names: &[(IpAddr, String)]) {
        self.names.extend_from_slice(names);
        for stream in &mut self.streams {
            stream.write(&mut self.total, |section, out| section.name(names.iter().cloned(), out));
        }
    }

    /// What has to be done before the next packet of `place`.
    pub(crate) fn turn(&self, place: Place, now: Instant) -> Turn {
        let Stream { files, size, opened, .. } = &self.streams[place.stream];
        self.rotation.turn(*files, *size, now.saturating_duration_since(*opened))
    }

    /// Ends the file of `place` and begins the next.
    pub(crate) fn next_file(&mut self, place: Place) -> Result<(), PacketFileError> {
        self.open_file(place.stream)
    }

    /// Whether `other` is in the same file.
    pub(crate) fn are_together(place: Place, other: Place) -> bool {
        place.stream == other.stream
    }

    pub(crate) fn packet(&mut self, place: Place, packet: &Packet) {
        let Packet { time, length, data } = packet;
        let stream = &mut self.streams[place.stream];
        stream.write(&mut self.total, |_, out| {
            pcapng::packet(out, place.interface, *time, *length, data);
        });
        if let Some(sum) = stream.sums.get_mut(place.interface as usize) {
            sum.packets += 1;
            sum.bytes = sum.bytes.saturating_add(u64::from(*length));
        }
    }

    pub(crate) fn statistics(&mut self, place: Place, time: u64, counts: &Counts) {
        let stream = &mut self.streams[place.stream];
        stream.write(&mut self.total, |section, out| {
            section.statistics(place.interface, time, counts, out);
        });
    }

    /// Whether packets may be added, or have to wait for the thread.
    pub(crate) fn has_room(&self) -> bool {
        let gathered: usize = self.streams.iter().map(|stream| stream.gathered.len()).sum();
        self.pending.is_empty() && gathered < GATHERED
    }

    /// Gives the thread what is gathered, as far as it takes it. Whether something is left.
    pub(crate) fn pass_on(&mut self) -> bool {
        while let Some(job) = self.pending.pop_front() {
            let Ok(permit) = self.jobs.try_reserve() else {
                self.pending.push_front(job);
                return true;
            };
            permit.send(job);
        }
        for (number, stream) in self.streams.iter_mut().enumerate() {
            if stream.gathered.is_empty() {
                continue;
            }
            let Ok(permit) = self.jobs.try_reserve() else { return true };
            permit.send(stream.bytes(number));
        }
        false
    }

    /// Completes when the thread takes more, or takes nothing more ever.
    pub(crate) async fn taking(&self) {
        let _ = self.jobs.reserve().await;
    }

    /// Bytes of all files so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The thread has all, and ends when that is written, which `Written` says.
    pub(crate) fn close(&mut self) {
        (self.jobs, _) = mpsc::channel(1);
    }

    /// The packets of `place` that are in files, not counting a piece that is written in part.
    pub(crate) fn written(&self, place: Place) -> Sum {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = done.get(place.stream).and_then(|sums| sums.get(place.interface as usize));
        sum.copied().unwrap_or_default()
    }

    fn begin(
        &mut self,
        template: Option<PathBuf>,
        file: Option<File>,
    ) -> Result<(), PacketFileError> {
        let mut section = Section::new(self.head.clone());
        section.name(self.names.iter().cloned(), &mut Vec::new()); // every file begins with them
        self.streams.push(Stream {
            section,
            template,
            gathered: Vec::new(),
            sums: Vec::new(),
            size: 0,
            opened: Instant::now(),
            files: 0,
        });
        let number = self.streams.len() - 1;
        match file {
            Some(file) => {
                self.pending.push_back(Job::File(number, file));
                self.streams[number].begin(&mut self.total);
                Ok(())
            }
            None => self.open_file(number),
        }
    }

    fn open_file(&mut self, number: usize) -> Result<(), PacketFileError> {
        let stream = &mut self.streams[number];
        let Some(template) = &stream.template else { return Ok(()) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = template.file_name().unwrap_or_default().to_string_lossy();
        let name = self.rotation.name(&name, stream.files, now.as_secs());
        let path = template.with_file_name(name);
        let file =
            File::create(&path).map_err(|source| PacketFileError::Create { path, source })?;
        let rest = stream.bytes(number);
        stream.begin(&mut self.total);
        self.pending.push_back(rest);
        self.pending.push_back(Job::File(number, file));
        Ok(())
    }
}

impl Stream {
    /// Begins a file.
    fn begin(&mut self, total: &mut u64) {
        self.files += 1;
        self.size = 0;
        self.opened = Instant::now();
        self.write(total, |section, out| section.begin(out));
    }

    /// What is gathered, for the thread.
    fn bytes(&mut self, number: usize) -> Job {
        Job::Bytes(number, std::mem::take(&mut self.gathered), self.sums.clone())
    }

    fn write<T>(
        &mut self,
        total: &mut u64,
        write: impl FnOnce(&mut Section, &mut Vec<u8>) -> T,
    ) -> T {
        let before = self.gathered.len();
        let written = write(&mut self.section, &mut self.gathered);
        let more = (self.gathered.len() - before) as u64;
        self.size += more;
        *total += more;
        written
    }
}

fn write_all(mut jobs: mpsc::Receiver<Job>, done: &Done) -> io::Result<()> {
    let mut files: Vec<Option<File>> = Vec::new();
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::File(stream, file) => {
                files.resize_with(files.len().max(stream + 1), || None);
                files[stream] = Some(file);
            }
            Job::Bytes(stream, bytes, sums) => {
                let Some(Some(file)) = files.get_mut(stream) else { continue };
                write_piece(file, &bytes)?;
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                let streams = done.len().max(stream + 1);
                done.resize_with(streams, Vec::new);
                done[stream] = sums;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tempfile::TempDir;

    use super::*;

    fn packet(length: usize) -> Packet {
        let data = Bytes::from(vec![7; length]);
        Packet { time: 1, length: u32::try_from(length).expect("a short packet"), data }
    }

    fn written(mut files: PacketFiles, written: Written) -> Result<(), PacketFileError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            while files.pass_on() {
                files.taking().await;
            }
            files.close();
            written.await.expect("the thread says how it ended")
        })
    }

    fn names(folder: &TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).expect("a folder").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn each_source_has_a_file_of_its_own_that_begins_as_one() {
        let folder = TempDir::new().expect("a folder");
        let to = Destination::Split(folder.path().join("new"));
        let (mut files, done) =
            PacketFiles::open(to, Head::default(), Rotation::default()).expect("files");
        for name in ["shop_web-1", "shop_web-2"] {
            let place = files.add(Interface::default(), name, 1).expect("a file");
            assert_eq!(place.interface, 0);
            files.packet(place, &packet(10));
        }
        written(files, done).expect("all is written");
        let new = folder.path().join("new");
        let read = |name: &str| std::fs::read(new.join(name)).expect(name);
        let (one, two) = (read("shop_web-1.pcapng"), read("shop_web-2.pcapng"));
        assert_eq!(one, two);
        assert!(one.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
    }

    #[test]
    fn each_file_has_the_names_also_one_that_begins_after_them() {
        let folder = TempDir::new().expect("a folder");
        let to = Destination::Split(folder.path().to_owned());
        let (mut files, done) =
            PacketFiles::open(to, Head::default(), Rotation::default()).expect("files");
        files.name(&[([10, 0, 0, 1].into(), "web.shop.svc".to_owned())]);
        for name in ["shop_web-1", "shop_web-2"] {
            files.add(Interface::default(), name, 1).expect("a file");
        }
        written(files, done).expect("all is written");
        for name in names(&folder) {
            let file = std::fs::read(folder.path().join(&name)).expect("a file");
            let name_s = b"web.shop.svc";
            assert!(file.windows(name_s.len()).any(|part| part == name_s), "{name}");
        }
        assert_eq!(names(&folder).len(), 2);
    }

    #[test]
    fn a_file_that_is_full_is_followed_by_one_that_begins_again() {
        let folder = TempDir::new().expect("a folder");
        let to = Destination::Named(folder.path().join("a"));
        let rotation = Rotation { size: Some(1000), ..Rotation::default() };
        let (mut files, done) = PacketFiles::open(to, Head::default(), rotation).expect("files");
        let place = files.add(Interface::default(), "shop_web-1", 1).expect("a place");
        for _ in 0..10 {
            if files.turn(place, Instant::now()) == Turn::Next {
                files.next_file(place).expect("the next file");
            }
            files.packet(place, &packet(400));
        }
        let total = files.total();
        written(files, done).expect("all is written");
        assert_eq!(names(&folder), ["a", "a1", "a2", "a3"]);
        let read = |name: &String| std::fs::read(folder.path().join(name)).expect("a file");
        let all: Vec<_> = names(&folder).iter().map(read).collect();
        assert!(all.iter().all(|file| file.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a])));
        assert_eq!(all.iter().map(|file| file.len() as u64).sum::<u64>(), total);
    }

    #[test]
    fn what_cannot_be_created_is_known_before_there_is_a_packet() {
        let to = Destination::Named("/no/such/folder/a.pcapng".into());
        let error =
            PacketFiles::open(to, Head::default(), Rotation::default()).err().expect("no file");
        assert!(error.to_string().contains("cannot create /no/such/folder/a.pcapng"), "{error}");
    }
}
