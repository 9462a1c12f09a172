//! The storage of a folder, on a disk that crashes between any two operations, and on a real one.

use std::io;
use std::sync::Arc;

use nix::errno::Errno;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::Disk;
use super::fake::{FakeDisk, Kind};
use super::files::Files;
use super::{Place, Storage, claim, contract};

fn files(disk: &FakeDisk) -> Files {
    Files::new(Arc::new(disk.clone()))
}

/// What the disk holds, unfinished files included.
fn all(disk: &FakeDisk, folder: &str) -> Vec<String> {
    let items = disk.list(folder).unwrap_or_default();
    items.into_iter().filter(|item| item.length.is_some()).map(|item| item.name).collect()
}

/// Has `change` be done on a disk whose power goes off after 0, 1, 2... operations, with many seeds, until it is done
/// completely; then crashes, and has `check` look at what is there and whether `change` had returned.
fn crash_everywhere(
    prepare: impl Fn(&Files),
    change: impl Fn(&FakeDisk) -> anyhow::Result<()>,
    check: impl Fn(&Files, bool),
) {
    for seed in 0..200 {
        for steps in 0.. {
            let disk = FakeDisk::new(seed);
            prepare(&files(&disk));
            disk.power_off_after(steps);
            let done = change(&disk).is_ok();
            disk.crash();
            let files = files(&disk);
            files.settle().unwrap();
            assert!(all(&disk, "a").iter().all(|name| !name.starts_with('.')), "nothing unfinished is left");
            check(&files, done);
            if done {
                assert!(steps > 3, "something was disturbed");
                break;
            }
        }
    }
}

#[test]
fn a_put_file_is_the_one_before_or_the_new_one() {
    let (old, new) = (vec![1; 3000], vec![2; 5000]);
    crash_everywhere(
        |files| files.put("a/f", &old).unwrap(),
        |disk| files(disk).put("a/f", &new),
        |files, done| {
            let found = files.read("a/f", None).unwrap().unwrap();
            assert!(found == new || !done && found == old);
        },
    );
    crash_everywhere(
        |_| {},
        |disk| files(disk).put("a/b/f", &new),
        |files, done| {
            let found = files.read("a/b/f", None).unwrap();
            assert!(found.as_ref() == Some(&new) || !done && found.is_none());
        },
    );
}

#[test]
fn a_created_file_is_whole_or_absent_and_never_replaced() {
    let (old, new) = (vec![1; 3000], vec![2; 5000]);
    crash_everywhere(
        |_| {},
        |disk| {
            assert!(files(disk).create("a/f", &new)?);
            Ok(())
        },
        |files, done| {
            let found = files.read("a/f", None).unwrap();
            assert!(found.as_ref() == Some(&new) || !done && found.is_none());
        },
    );
    crash_everywhere(
        |files| assert!(files.create("a/f", &old).unwrap()),
        |disk| {
            assert!(!files(disk).create("a/f", &new)?);
            Ok(())
        },
        |files, _| assert_eq!(files.read("a/f", None).unwrap().as_ref(), Some(&old)),
    );
}

#[test]
fn a_large_file_is_there_once_it_is_finished() {
    let parts = [vec![1; 3000], vec![2; 5000]];
    crash_everywhere(
        |_| {},
        |disk| {
            let mut file = files(disk).write("a/f")?;
            parts.iter().try_for_each(|part| file.write(part))?;
            file.finish()
        },
        |files, done| {
            let found = files.read("a/f", None).unwrap();
            assert!(found.as_ref() == Some(&parts.concat()) || !done && found.is_none());
        },
    );
    let disk = FakeDisk::new(0);
    let files = files(&disk);
    let mut file = files.write("a/f").unwrap();
    file.write(b"part").unwrap();
    assert_eq!(files.list("a").unwrap(), [], "it is not listed");
    drop(file);
    assert!(all(&disk, "a").is_empty(), "it never was");
}

#[test]
fn what_was_appended_stays_and_what_was_cut_off_is_gone() {
    crash_everywhere(
        |files| files.append("a/f", 0, b"first second").unwrap(),
        |disk| files(disk).append("a/f", 5, b" then"),
        |files, done| {
            let found = files.read("a/f", None).unwrap().unwrap();
            assert!(found.starts_with(b"first"));
            assert!(!done || found == b"first then");
        },
    );
    crash_everywhere(
        |_| {},
        |disk| {
            let files = files(disk);
            files.append("a/f", 0, b"first").and_then(|()| files.append("a/f", 5, b" then"))
        },
        |files, done| assert!(!done || files.read("a/f", None).unwrap().unwrap() == b"first then"),
    );
    crash_everywhere(
        |_| {},
        // A program made the file, and was killed before its name was durable.
        |disk| {
            disk.make_folder("a")?;
            let mut file = disk.make("a/f")?;
            file.write_at(0, b"first")?;
            disk.sync_folder("")?;
            files(disk).append("a/f", 5, b"")
        },
        |files, done| assert!(!done || files.read("a/f", None).unwrap().unwrap() == b"first"),
    );
}

#[test]
fn removed_files_stay_removed() {
    crash_everywhere(
        |files| files.put("a/f", b"x").unwrap(),
        |disk| {
            let files = files(disk);
            files.remove("a/f").and_then(|()| files.put("a/g", b"y"))
        },
        |files, done| assert!(!done || files.list("a").unwrap() == [("a/g".to_owned(), 1)]),
    );
}

#[test]
fn errors_name_the_path_and_what_to_do() {
    let disk = FakeDisk::new(0);
    let files = files(&disk);
    files.append("a/f", 0, b"first").unwrap();
    disk.set_room(Some(2));
    for error in [files.append("a/f", 5, b"long"), files.put("a/f", b"long")] {
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.starts_with("writing fake/a/f: the disk is full: make room"), "{error}");
    }
    disk.set_room(None);
    assert!(all(&disk, "a").iter().all(|name| !name.starts_with('.')));
    files.append("a/f", 5, b" then").unwrap();
    assert_eq!(files.read("a/f", None).unwrap().unwrap(), b"first then");
    assert_eq!(files.read("a/f", Some(6..8)).unwrap().unwrap(), b"th");
    let error = format!("{:#}", files.read("a/f", Some(6..80)).unwrap_err());
    assert!(error.contains("reading fake/a/f: it is shorter"), "{error}");
    let error = format!("{:#}", files.append("a/f", 50, b"x").unwrap_err());
    assert!(error.contains("fake/a/f: it has 10 bytes of 50"), "{error}");

    for (errno, says) in
        [(Errno::EACCES, "not writable"), (Errno::EROFS, "read-only"), (Errno::EDQUOT, "quota")]
    {
        disk.set_hook(Some(Arc::new(move |_| Err(errno.into()))));
        let error = format!("{:#}", files.put("a/f", b"x").unwrap_err());
        assert!(error.contains("writing fake/a/f: ") && error.contains(says), "{error}");
    }
    disk.set_hook(Some(Arc::new(|step| {
        if step.kind == Kind::Sync { Err(io::Error::other("sync failed")) } else { Ok(()) }
    })));
    assert!(files.put("a/f", b"x").is_err());
    disk.set_hook(None);
    assert_eq!(files.read("a/f", None).unwrap().unwrap(), b"first then");
}

#[test]
fn a_real_folder_does_the_same_as_the_fake() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("x/y");
    let real = Files::create(place.to_str().unwrap()).unwrap();
    let fake = files(&FakeDisk::new(0));
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..500 {
        let name = format!("{}/f{}", ["a", "b/c"][rng.random_range(0..2)], rng.random_range(0..3));
        let bytes = vec![rng.random_range(0..9); rng.random_range(0..100)];
        let (action, start) = (rng.random_range(0..7), rng.random_range(0..50));
        let act = |files: &Files| -> Result<String, ()> {
            match action {
                0 => files.put(&name, &bytes).map(|()| String::new()),
                1 => files.create(&name, &bytes).map(|created| created.to_string()),
                2 => files.append(&name, start, &bytes).map(|()| String::new()),
                3 => files.remove(&name).map(|()| String::new()),
                4 => files.read(&name, Some(start..start + 9)).map(|found| format!("{found:?}")),
                5 => files.write(&name).and_then(|mut file| {
                    file.write(&bytes)?;
                    file.write(b"end")?;
                    file.finish()?;
                    Ok(String::new())
                }),
                _ => files.settle().map(|()| String::new()),
            }
            .map_err(|_| ())
        };
        assert_eq!(act(&real), act(&fake), "{action} {name}");
        for folder in ["a", "b", "b/c", "d"] {
            assert_eq!(real.list(folder).unwrap(), fake.list(folder).unwrap());
        }
        assert_eq!(real.read(&name, None).unwrap(), fake.read(&name, None).unwrap());
    }
}

#[test]
fn a_folder_that_can_not_be_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let file = file.to_str().unwrap();
    let below = format!("{file}/below");
    for (result, says) in [
        (Files::open(file), vec![file, "not a folder"]),
        (Files::create(file), vec![file, "not a folder"]),
        (Files::create(&below), vec![&below, "a file is where a folder should be"]),
        (Files::open("/no/such/folder"), vec!["/no/such/folder"]),
    ] {
        let error = format!("{:#}", result.err().unwrap());
        for text in says {
            assert!(error.contains(text), "{text} in {error}");
        }
    }
    assert!(super::open("gs://bucket").err().unwrap().to_string().contains("s3://BUCKET"));
    let place = folder.path().join("state");
    let (_storage, _lock) = super::claim(place.to_str().unwrap()).unwrap();
    let error = super::claim(place.to_str().unwrap()).err().unwrap().to_string();
    assert!(error.contains("in use by process"), "{error}");
    super::open(place.to_str().unwrap()).unwrap();
}

#[test]
fn a_folder_keeps_what_storage_promises_on_both_disks() {
    contract::check(&files(&FakeDisk::new(1)));
    let folder = tempfile::tempdir().unwrap();
    contract::check(&Files::open(folder.path().to_str().unwrap()).unwrap());
}

#[test]
fn places_are_folders_or_urls() {
    assert_eq!(Place::of("a/b").unwrap(), Place::Folder("a/b"));
    assert_eq!(Place::of("file:///a/b").unwrap(), Place::Folder("/a/b"));
    assert_eq!(Place::of("s3://a/b").unwrap(), Place::Objects);
    for (wrong, says) in [("", "empty"), ("file://a", "file:///FOLDER"), ("gs://a/b", "s3://BUCKET/PREFIX")] {
        let error = Place::of(wrong).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/new", folder.path().display());
    let (storage, lock) = claim(&url).unwrap();
    storage.put("f", b"x").unwrap();
    assert!(lock.is_some() && folder.path().join("new/f").exists());
    assert!(claim(&url).is_err(), "it is locked");
}
