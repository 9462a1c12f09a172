//! Changes as lines of JSON.

use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;

use super::{Emit, upserts};

/// Appends the lines that `emit` asks for.
pub(super) fn append(emit: Emit, epoch: Epoch, output: &str, changes: &[Change], out: &mut Vec<u8>) {
    match emit {
        Emit::Changes => changes.iter().for_each(|c| {
            change(epoch, output, c, out);
            out.push(b'\n');
        }),
        Emit::Upserts => {
            for (key, row) in upserts(changes) {
                head(epoch, output, out);
                out.extend_from_slice(b",\"key\":");
                out.extend_from_slice(key);
                out.extend_from_slice(b",\"row\":");
                out.extend_from_slice(row.unwrap_or(b"null"));
                out.extend_from_slice(b"}\n");
            }
        }
        Emit::Append | Emit::Final => changes.iter().for_each(|c| {
            // A row that is there several times is shown as often.
            for _ in 0..c.diff {
                out.extend_from_slice(&c.row);
                out.push(b'\n');
            }
        }),
    }
}

/// Appends one change, without a line end.
pub(super) fn change(epoch: Epoch, output: &str, change: &Change, out: &mut Vec<u8>) {
    head(epoch, output, out);
    out.extend_from_slice(b",\"diff\":");
    out.extend_from_slice(change.diff.to_string().as_bytes());
    out.extend_from_slice(b",\"row\":");
    out.extend_from_slice(&change.row);
    out.push(b'}');
}

fn head(epoch: Epoch, output: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"epoch\":");
    out.extend_from_slice(epoch.to_string().as_bytes());
    out.extend_from_slice(b",\"output\":");
    serde_json::to_writer(&mut *out, output).expect("a name is JSON");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_design_says() {
        let changes = [
            Change {
                key: br#"{"word":"the"}"#.as_slice().into(),
                row: br#"{"word":"the","count":9}"#.as_slice().into(),
                diff: -1,
            },
            Change {
                key: br#"{"word":"the"}"#.as_slice().into(),
                row: br#"{"word":"the","count":12}"#.as_slice().into(),
                diff: 1,
            },
        ];
        let lines = |emit, changes| {
            let mut out = Vec::new();
            append(emit, 3, "counts", changes, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            lines(Emit::Changes, &changes),
            "{\"epoch\":3,\"output\":\"counts\",\"diff\":-1,\"row\":{\"word\":\"the\",\"count\":9}}\n\
             {\"epoch\":3,\"output\":\"counts\",\"diff\":1,\"row\":{\"word\":\"the\",\"count\":12}}\n"
        );
        assert_eq!(
            lines(Emit::Upserts, &changes),
            "{\"epoch\":3,\"output\":\"counts\",\"key\":{\"word\":\"the\"},\"row\":{\"word\":\"the\",\"count\":12}}\n"
        );
        assert_eq!(
            lines(Emit::Upserts, &changes[..1]),
            "{\"epoch\":3,\"output\":\"counts\",\"key\":{\"word\":\"the\"},\"row\":null}\n"
        );
        let twice = [Change { diff: 2, ..changes[1].clone() }];
        for bare in [Emit::Append, Emit::Final] {
            let line = "{\"word\":\"the\",\"count\":12}\n";
            assert_eq!(lines(bare, &changes[1..]), line);
            assert_eq!(lines(bare, &twice), line.repeat(2));
        }
    }
}
