//! Speed of stores in clouds against bare loops over the HTTP library below them, without signatures, checks
//! or retries: what the same requests take at least. A measurement, which nothing starts but
//! `cargo nextest run --release --run-ignored only --no-capture -E 'test(store::tests::speed)'`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::cloud::Cloud;
use super::conformance::Subject;
use super::*;

/// Requests under way at once, as `mkpanda cache push` has with two cores.
const THREADS: usize = 8;
const SMALL: usize = 1_000;
const SMALL_BYTES: usize = 100_000;
const LARGE_BYTES: usize = 1_000_000_000;
const PART: usize = 8 << 20;
/// Turns of which the median counts.
const TURNS: usize = 3;
/// Lowest accepted speed, compared with the bare loop's.
const GOAL: f64 = 0.8;

fn noise(length: usize) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let random = fs_err::File::open("/dev/urandom").unwrap();
    std::io::copy(&mut random.take(length as u64), file.as_file_mut()).unwrap();
    file
}

fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

/// Does a number of things, several at once.
fn at_once(count: usize, threads: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

fn send(request: reqwest::blocking::RequestBuilder) -> reqwest::blocking::Response {
    let answer = request.header("Authorization", "Bearer x").send().unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer
}

/// The bare loop: the requests alone.
struct Bare {
    http: reqwest::blocking::Client,
    bucket: String,
}

impl Bare {
    fn put(&self, name: &str, content: Vec<u8>) {
        send(self.http.put(format!("{}/{name}", self.bucket)).body(content));
    }

    fn get(&self, name: &str, to: &mut File) {
        let mut answer = send(self.http.get(format!("{}/{name}", self.bucket)));
        std::io::copy(&mut answer, to).unwrap();
    }

    /// Puts a file in parts, two at once, as the store does.
    fn put_parts(&self, name: &str, file: &Path, length: usize) {
        let url = format!("{}/{name}", self.bucket);
        let begun = send(self.http.post(format!("{url}?uploads"))).text().unwrap();
        let id = begun.split("<UploadId>").nth(1).unwrap().split("</UploadId>").next().unwrap();
        let tags = std::sync::Mutex::new(vec![String::new(); length.div_ceil(PART)]);
        at_once(length.div_ceil(PART), 2, |number| {
            use std::os::unix::fs::FileExt;
            let mut part = vec![0; PART.min(length - number * PART)];
            fs_err::File::open(file)
                .unwrap()
                .into_file()
                .read_exact_at(&mut part, (number * PART) as u64)
                .unwrap();
            let put = self.http.put(format!("{url}?partNumber={}&uploadId={id}", number + 1));
            let answer = send(put.body(part));
            let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
            tags.lock().unwrap()[number] = tag;
        });
        let parts = tags.into_inner().unwrap().into_iter().enumerate().map(|(number, tag)| {
            format!("<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>", number + 1)
        });
        let parts: String = parts.collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        send(self.http.post(format!("{url}?uploadId={id}")).body(body));
    }
}

/// Measures both in turns, prints the medians, and returns whether ours is fast enough.
fn compare(what: &str, ours: impl Fn(usize), bare: impl Fn(usize)) -> bool {
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..TURNS {
        times[0].push(seconds(|| ours(turn)));
        times[1].push(seconds(|| bare(turn)));
    }
    let [ours, bare] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[TURNS / 2]
    });
    let line =
        format!("{what:28} {ours:7.2} s, bare {bare:7.2} s: {:.2} of its speed\n", bare / ours);
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    bare / ours >= GOAL
}

#[test]
#[ignore = "a measurement that needs an idle machine"]
fn transfers_have_most_of_the_speed_of_a_bare_loop() {
    let Some(cloud) = Cloud::s3() else { return };
    let (bucket, url) = cloud.bucket_with_url();
    let backend = bucket.backend();
    let http = reqwest::blocking::Client::builder().timeout(None).build().unwrap();
    let bare = Bare { http, bucket: url };
    let (large, small) = (noise(LARGE_BYTES), noise(SMALL_BYTES));
    let bytes = fs_err::read(small.path()).unwrap();
    let put = |name: String, file: &Path, length: usize| {
        let content = ObjectContent::File(file, length as u64);
        assert_eq!(backend.put(&key(&name), content, &quiet()).unwrap(), Put::Written);
    };
    let get = |name: &str| {
        backend.get(&key(name), &mut tempfile::tempfile().unwrap(), &quiet()).unwrap();
    };
    let reached = [
        compare(
            "put one object of 1 GB",
            |turn| put(format!("large-{turn}"), large.path(), LARGE_BYTES),
            |turn| bare.put_parts(&format!("bare-{turn}"), large.path(), LARGE_BYTES),
        ),
        compare(
            "get one object of 1 GB",
            |turn| get(&format!("large-{turn}")),
            |turn| bare.get(&format!("bare-{turn}"), &mut tempfile::tempfile().unwrap()),
        ),
        compare(
            "put 1,000 objects of 100 KB",
            |turn| {
                at_once(SMALL, THREADS, |number| {
                    put(format!("{turn}/{number}"), small.path(), SMALL_BYTES);
                });
            },
            |turn| {
                at_once(SMALL, THREADS, |number| {
                    bare.put(&format!("bare-{turn}/{number}"), bytes.clone());
                });
            },
        ),
        compare(
            "get 1,000 objects of 100 KB",
            |turn| at_once(SMALL, THREADS, |number| get(&format!("{turn}/{number}"))),
            |turn| {
                at_once(SMALL, THREADS, |number| {
                    bare.get(&format!("bare-{turn}/{number}"), &mut tempfile::tempfile().unwrap());
                });
            },
        ),
    ];
    assert!(reached.iter().all(|fast| *fast), "{reached:?}");
}
