use super::*;
use crate::state::cut::Cut;
use crate::state::resume::Entry;

/// The changes of an epoch: the same each time, as rendering is.
fn changes(epoch: Epoch) -> Vec<Change> {
    let change = |key: u64| Change {
        key: format!("{{\"k\":{key}}}").into_bytes().into(),
        row: format!("{{\"k\":{key},\"v\":{epoch}}}").into_bytes().into(),
        diff: 1,
    };
    // Epochs without rows are among them.
    if epoch.is_multiple_of(3) { Vec::new() } else { (0..epoch + 2).map(change).collect() }
}

fn publish(sink: &mut File, epochs: impl IntoIterator<Item = Epoch>) -> Result<()> {
    for epoch in epochs {
        let changes = changes(epoch);
        if !changes.is_empty() {
            sink.write(epoch, "out", &changes)?;
        }
        sink.commit(epoch, &[])?;
    }
    Ok(())
}

fn job(checkpoint: Epoch, published: Epoch, last: Epoch) -> Resume {
    let replay =
        (checkpoint + 1..=last).map(|epoch| Entry { epoch, cut: Cut::default(), ..Entry::default() });
    Resume { job: "j".into(), checkpoint, published, replay: replay.collect(), ..Resume::default() }
}

/// The whole of a file after epochs 1 to `last`.
fn whole(last: Epoch, emit: Emit) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    publish(&mut File::create(&path, emit, &Fault::default()).unwrap(), 1..=last).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn a_file_torn_at_any_byte_ends_up_the_same() {
    const LAST: Epoch = 8;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    for emit in [Emit::Changes, Emit::Upserts] {
        let expected = whole(LAST, emit);
        // Epochs up to 4 were synced; what is there of the others is any prefix.
        for length in whole(4, emit).len()..=expected.len() {
            fs::write(&path, &expected[..length]).unwrap();
            let mut sink = File::keep(&path, emit, &Fault::default());
            let held = sink.resume(&job(2, 4, LAST)).unwrap();
            assert!((4..LAST).contains(&held), "{held}");
            publish(&mut sink, held + 1..=LAST).unwrap();
            assert_eq!(fs::read(&path).unwrap(), expected, "cut at byte {length}, {held} held");
        }
    }
}

#[test]
fn a_file_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let mut sink = File::keep(&path, Emit::Changes, &Fault::default());
    assert_eq!(sink.resume(&job(0, 0, 0)).unwrap(), 0);
    publish(&mut sink, 1..=3).unwrap();
    let mut sink = File::keep(&path, Emit::Changes, &Fault::default());
    assert_eq!(sink.resume(&job(3, 3, 3)).unwrap(), 3);
    publish(&mut sink, 4..=5).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole(5, Emit::Changes));
}

#[test]
fn a_file_that_can_not_be_this_jobs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let resume = |bytes: &[u8], from: Resume| {
        fs::write(&path, bytes).unwrap();
        let mut sink = File::keep(&path, Emit::Changes, &Fault::default());
        let held = sink.resume(&from)?;
        publish(&mut sink, held + 1..=from.last())
    };
    let fails = |bytes: &[u8], from: Resume, text: &str| {
        let error = format!("{:#}", resume(bytes, from).unwrap_err());
        assert!(error.contains(text) && error.contains(path.to_str().unwrap()), "{error}");
    };
    let five = whole(5, Emit::Changes);
    resume(&five, job(2, 4, 5)).unwrap();
    fails(&five, job(2, 4, 4), "holds epoch 5, but the job's ledger ends at epoch 4");
    fails(b"something else\n", job(2, 4, 5), "is not a row of Cutwater's");
    // Another value in a line of the last epoch; one line more than this job writes.
    let last = String::from_utf8(five).unwrap().replacen("\"v\":5", "\"v\":6", 1);
    fails(last.as_bytes(), job(2, 4, 5), "was changed by something else");
    let more =
        last.replacen("\"v\":6", "\"v\":5", 1) + "{\"epoch\":5,\"output\":\"out\",\"diff\":1,\"row\":{}}\n";
    fails(more.as_bytes(), job(2, 4, 5), "was changed by something else");
}

#[test]
fn final_rows_take_the_place_of_an_earlier_end_once_they_are_whole() {
    const ROWS: &str = "{\"k\":0,\"v\":1}\n{\"k\":1,\"v\":1}\n{\"k\":2,\"v\":1}\n";
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("f"), folder.path().join("link"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let text = || fs::read_to_string(&path).unwrap();
    let begin = |state: bool| {
        if !state {
            return File::create(&link, Emit::Final, &Fault::default()).unwrap();
        }
        let mut sink = File::keep(&link, Emit::Final, &Fault::default());
        assert_eq!(sink.resume(&job(3, 4, 5)).unwrap(), 4);
        sink
    };
    for state in [false, true] {
        fs::write(&path, "of an earlier end\n").unwrap();
        for ends in [false, true] {
            let mut sink = begin(state);
            sink.write(Epoch::MAX, "out", &changes(1)).unwrap();
            sink.commit(Epoch::MAX, &[]).unwrap();
            assert_eq!(text(), "of an earlier end\n");
            if ends {
                sink.finish().unwrap();
            }
        }
        assert_eq!(text(), ROWS);
        // No rows are a result, too.
        begin(state).finish().unwrap();
        assert_eq!(text(), "");
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "the file and the link");
    }
}

#[test]
fn a_file_of_rows_alone_killed_at_any_byte_has_each_row_once() {
    const LAST: Epoch = 8;
    let expected = whole(LAST, Emit::Append);
    let folder = tempfile::tempdir().unwrap();
    for synced in [0, 1, 4, 6] {
        // What is there of the next one is any prefix: it is synced before another one begins.
        for length in whole(synced, Emit::Append).len()..=whole(synced + 1, Emit::Append).len() {
            let path = folder.path().join(format!("{synced}-{length}"));
            let mut sink = File::keep(&path, Emit::Append, &Fault::default());
            assert_eq!(sink.resume(&job(0, 0, 0)).unwrap(), 0);
            publish(&mut sink, 1..=synced).unwrap();
            // The last epoch may be known to be published, or not.
            fs::write(&path, &expected[..length]).unwrap();
            for published in [synced.saturating_sub(1), synced] {
                let mut sink = File::keep(&path, Emit::Append, &Fault::default());
                let held = sink.resume(&job(0, published, LAST)).unwrap();
                assert!((published..=LAST).contains(&held), "{held}");
                publish(&mut sink, held + 1..=LAST).unwrap();
                assert_eq!(
                    fs::read(&path).unwrap(),
                    expected,
                    "{synced} synced, cut at byte {length}, {held} held"
                );
            }
        }
    }
}

#[test]
fn a_file_of_rows_alone_that_can_not_be_this_jobs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let keep = || File::keep(&path, Emit::Append, &Fault::default());
    let mut sink = keep();
    sink.resume(&job(0, 0, 0)).unwrap();
    publish(&mut sink, 1..=5).unwrap();
    let text = fs::read(&path).unwrap();
    let fails = |from: &Resume, says: &str| {
        let mut sink = keep();
        let result = sink.resume(from).and_then(|held| publish(&mut sink, held + 1..=from.last()));
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains(says) && error.contains(path.to_str().unwrap()), "{error}");
    };
    fails(&job(2, 4, 4), "holds epoch 5, but the job's ledger ends at epoch 4");
    fails(&Resume { job: "k".into(), ..job(2, 4, 5) }, "is the file of another job, j");
    fs::write(&path, &text[..text.len() - 1]).unwrap();
    fails(&job(2, 4, 6), "was changed by something else: it had");
    fs::write(&path, [&text[..], b"something else\n"].concat()).unwrap();
    fails(&job(2, 5, 7), "was changed by something else");
    // One that was moved away is started again.
    fs::remove_file(&path).unwrap();
    let mut sink = keep();
    assert_eq!(sink.resume(&job(2, 5, 7)).unwrap(), 5);
    publish(&mut sink, 6..=7).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole(7, Emit::Append)[text.len()..]);
}
