//! Confluent's frame of a message.

use prost_reflect::MessageDescriptor;

use crate::record::Malformed;

/// What a frame says of which message it is: the message's number in its file, and, where it is within others, those of the
/// messages from the outermost on.
pub(super) type Place = Vec<u64>;

const CUT_OFF: Malformed = Malformed::because("its frame is cut off");

/// The message in Confluent's frame: 0, the id of a schema in four bytes, and the place of the message, as so many numbers.
/// Without a frame there is no place.
pub(super) fn unframed(payload: &[u8]) -> Result<(Option<Place>, &[u8]), Malformed> {
    if payload.first() != Some(&0) {
        return Ok((None, payload));
    }
    let mut rest = payload.get(5..).ok_or(CUT_OFF)?;
    // In zigzag, and never below zero; no number stands for the first message.
    let mut number = || varint(&mut rest).ok_or(CUT_OFF);
    let count = number()? >> 1;
    let mut place = Vec::new();
    for _ in 0..count {
        place.push(number()? >> 1);
    }
    Ok((Some(if place.is_empty() { vec![0] } else { place }), rest))
}

/// Takes a number of the wire, seven bits in a byte; `None` where it is cut off.
pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let end = rest.iter().take(10).position(|byte| *byte < 0x80)?;
    let (number, after) = rest.split_at(end + 1);
    *rest = after;
    Some(number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)))
}

/// The places by which frames may name a message: some writers count the entries of maps among the messages within one, and
/// others do not.
pub(super) struct Places {
    message: MessageDescriptor,
    all: [Place; 2],
}

impl Places {
    pub(super) fn of(message: &MessageDescriptor) -> Self {
        Places { message: message.clone(), all: [true, false].map(|entries| place(message, entries)) }
    }

    /// An error if a frame is of another message.
    pub(super) fn check(&self, found: &Place) -> Result<(), Malformed> {
        if self.all.contains(found) { Ok(()) } else { Err(self.other(found)) }
    }

    #[cold]
    fn other(&self, found: &Place) -> Malformed {
        let file = self.message.parent_file();
        let mut message = found.first().and_then(|&first| file.messages().nth(usize::try_from(first).ok()?));
        for &number in &found[1..] {
            message = message.and_then(|of| of.child_messages().nth(usize::try_from(number).ok()?));
        }
        let name = match &message {
            Some(message) => message.full_name(),
            None => "a message that the descriptors do not have",
        };
        Malformed(format!("by its frame it is {name}, not {}", self.message.full_name()).into())
    }
}

fn place(message: &MessageDescriptor, entries: bool) -> Place {
    let (mut place, mut at) = (Vec::new(), message.clone());
    let number = |mut all: Box<dyn Iterator<Item = MessageDescriptor> + '_>, of: &MessageDescriptor| {
        all.position(|message| message == *of).unwrap_or_default() as u64
    };
    while let Some(parent) = at.parent_message() {
        let beside = parent.child_messages().filter(|message| entries || !message.is_map_entry());
        place.push(number(Box::new(beside), &at));
        at = parent;
    }
    place.push(number(Box::new(at.parent_file().messages()), &at));
    place.reverse();
    place
}
