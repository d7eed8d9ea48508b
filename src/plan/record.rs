//! The record of one attachment, as text and back (docs/state.md): what DEL needs, on disk before a delegate runs.
//!
//! Reading is total: any bytes give a record or say why not.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cni::{CniError, CniResult, IfName};
use crate::kernel::NetnsId;

use super::routes::Routed;
use super::{Attachment, Sandbox};

/// The version we write.
const VERSION: u32 = 1;

/// What stands before each text after the first, as in RFC 7464: a character that JSON cannot hold, while a plugin's own
/// bytes may well hold line feeds.
const SEPARATOR: u8 = 0x1e;

/// A process, told from a later one with the same ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Process ID.
    pub pid: i32,
    /// When it was seen running, in clock ticks since boot. A process that started later is another one.
    pub seen: u64,
}

/// Clock ticks in a second, as `/proc` counts them on every Linux.
pub const TICKS: u64 = 100;

impl ProcessMark {
    /// When it was seen running, in seconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.seen / TICKS
    }
}

/// The kernel's boot ID in `epoch`, which is `<boot id>:<token>`.
#[must_use]
pub fn kernel_of(epoch: &str) -> &str {
    epoch.split_once(':').map_or(epoch, |(boot, _)| boot)
}

/// How far an attachment came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its delegates may have run.
    Begun,
    /// They succeeded.
    Attached,
    /// Everything of that ADD was taken back. A tombstone: it stands for no resource.
    Undone,
}

/// One attachment of a sandbox and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Whose it is.
    pub sandbox: Sandbox,
    /// Identity of the sandbox's namespace when it was attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<NetnsId>,
    /// The epoch of the ADD.
    pub epoch: String,
    /// `CNI_IFNAME` of the runtime's call.
    pub request: IfName,
    /// How many attachments that call was to make.
    pub of: usize,
    /// What was to be done, and with what.
    pub attachment: Attachment,
    /// The plugin call that did it.
    pub call: ProcessMark,
    /// How far it came.
    pub state: State,
    /// What the last plugin of the chain printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// `result` as we left it, where that is otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Box<RawValue>>,
    /// The pod's default routes, when it was this attachment that asked for them.
    #[serde(default, deserialize_with = "readable", skip_serializing_if = "Option::is_none")]
    pub routed: Option<Routed>,
}

/// How an attachment ended: a text after its record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ending {
    /// How far it came.
    pub state: State,
    /// What the last plugin of the chain printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// `result` as we left it, where that is otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Box<RawValue>>,
    /// The pod's default routes, when it was this attachment that asked for them.
    #[serde(default, deserialize_with = "readable", skip_serializing_if = "Option::is_none")]
    pub routed: Option<Routed>,
}

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the envelope of a record.
    #[error("is not a record")]
    Envelope(#[source] serde_json::Error),
    /// A version that we cannot read.
    #[error("is of version {0}, which is not readable here")]
    Version(u32),
    /// The checksum does not fit.
    #[error("does not fit its checksum")]
    Checksum,
    /// The envelope holds something else.
    #[error("lacks what a record has")]
    Content(#[source] serde_json::Error),
}

/// What a later version wrote in its own way is as if it were not there: the rest of the text still counts (F1).
fn readable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Routed>, D::Error> {
    let text = Option::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| serde_json::from_str(text.get()).ok()))
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    checksum: String,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// `content` in an envelope with version and checksum: how records and the last good primary are written.
///
/// # Errors
/// The encoder's, which our own values do not meet.
pub fn seal<T: Serialize>(content: &T) -> Result<String, serde_json::Error> {
    let record = serde_json::value::to_raw_value(content)?;
    serde_json::to_string(&Envelope { version: VERSION, checksum: checksum(record.get()), record: &record })
}

/// The content of an envelope.
///
/// # Errors
/// [`RecordError`] for anything that [`seal`] did not write, or that was changed since.
pub fn unseal<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(RecordError::Envelope)?;
    if envelope.version < VERSION {
        return Err(RecordError::Version(envelope.version));
    }
    if envelope.checksum != checksum(envelope.record.get()) {
        return Err(RecordError::Checksum);
    }
    serde_json::from_str(envelope.record.get()).map_err(RecordError::Content)
}

/// The first text that `bytes`, which are no record, have for `key`, if that much of them can be read.
#[must_use]
pub fn legible(bytes: &[u8], key: &str) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let (_, after) = text.split_once(&format!("\"{key}\":\""))?;
    after.split_once('"').map(|(value, _)| value.to_owned())
}

fn checksum(text: &str) -> String {
    format!("crc32:{:08x}", crc32fast::hash(text.as_bytes()))
}

impl Record {
    /// The record in `bytes`: its own text, and the last ending after it that is whole. One that is not is that of a
    /// writer that died: as if it had not been begun.
    ///
    /// # Errors
    /// [`RecordError`] when the first text is no record.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut texts = bytes.split(|byte| *byte == SEPARATOR);
        let mut record: Self = unseal(texts.next().unwrap_or_default())?;
        for ending in texts.filter_map(|text| unseal::<Ending>(text).ok()) {
            record.state = ending.state;
            record.result = ending.result;
            record.left = ending.left;
            record.routed = ending.routed;
        }
        Ok(record)
    }

    /// The text that says how the attachment ended, to go after the record's own.
    ///
    /// # Errors
    /// The encoder's, which our own values do not meet.
    pub fn ending_text(&self) -> Result<String, serde_json::Error> {
        let ending = Ending {
            state: self.state,
            result: self.result.clone(),
            left: self.left.clone(),
            routed: self.routed.clone(),
        };
        Ok(format!("{}{}\n", char::from(SEPARATOR), seal(&ending)?))
    }

    /// What the last plugin of the chain printed, to look into; of an attachment without a result, an empty one.
    ///
    /// # Errors
    /// Code 702 when that is no result.
    pub fn view(&self) -> Result<CniResult, CniError> {
        let Some(text) = &self.result else { return Ok(CniResult::default()) };
        CniResult::parse(text.get().as_bytes(), self.attachment.cni_version).map(|(result, _)| result)
    }

    /// The result as it stands: as we left it, else as the delegate gave it.
    #[must_use]
    pub fn standing(&self) -> Option<&RawValue> {
        self.left.as_deref().or(self.result.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Small {
        a: u32,
    }

    #[test]
    fn f1_an_envelope_reads_back_and_a_changed_one_does_not() {
        let text = seal(&Small { a: 7 }).unwrap();
        assert_eq!(unseal::<Small>(text.as_bytes()).unwrap(), Small { a: 7 });
        for at in 0..text.len() {
            assert!(unseal::<Small>(&text.as_bytes()[..at]).is_err(), "cut at {at}");
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1;
            // A flip in a key of the envelope or in the version's digit may still read; then the content is what it was.
            if let Ok(read) = unseal::<Small>(&flipped) {
                assert_eq!(read, Small { a: 7 }, "flip at {at}");
            }
        }
    }

    #[test]
    fn f1_routes_that_a_later_version_changed_keep_no_ending_from_being_read() {
        for routed in [r#"{"gateways":["10.0.0.1"],"policy":"balance","changes":[]}"#, r#"{"changes":[{"x":1}]}"#, "7"]
        {
            let ending: Ending =
                serde_json::from_str(&format!(r#"{{"state":"attached","result":{{}},"routed":{routed}}}"#)).unwrap();
            assert_eq!((ending.state, ending.result.is_some(), ending.routed), (State::Attached, true, None));
        }
    }

    #[test]
    fn f1_a_record_of_the_next_version_is_readable_and_of_version_0_is_not() {
        let text = seal(&Small { a: 7 }).unwrap();
        let next = text.replace("\"version\":1", "\"version\":2,\"more\":[]");
        assert_eq!(unseal::<Small>(next.as_bytes()).unwrap(), Small { a: 7 });
        let old = text.replace("\"version\":1", "\"version\":0");
        assert!(matches!(unseal::<Small>(old.as_bytes()), Err(RecordError::Version(0))));
    }
}
