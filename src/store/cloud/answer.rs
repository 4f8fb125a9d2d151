//! Unsuccessful answers of stores: status, code, message, and facts from the headers.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap};

use crate::base::http::redact_text;
use crate::base::http::retry::{may_pass, retry_after};

/// Upper limit of a quoted text in bytes.
const LONGEST_QUOTE: usize = 300;
/// Difference of clocks worth a hint. S3 and Azure refuse signatures from 15 minutes on.
const MOST_SKEW: Duration = Duration::from_secs(5 * 60);

/// Unsuccessful answer of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreAnswer {
    pub(super) status: StatusCode,
    /// The store's word for the fault, such as `NoSuchBucket`.
    pub(super) code: Option<String>,
    /// The store's sentence.
    pub(super) message: Option<String>,
    /// The bucket's region.
    pub(super) region: Option<String>,
    /// Wait before the next request, as the store demands.
    pub(super) wait: Option<Duration>,
    /// Difference between the clocks of this machine and the store, if large.
    pub(super) skew: Option<Skew>,
}

/// Large difference between this machine's clock and the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skew {
    pub(super) difference: Duration,
    /// True if this machine's clock shows the earlier time.
    pub(super) is_behind: bool,
}

impl StoreAnswer {
    /// Reads an answer; `body` is its beginning.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let element = |name: &str| element(&text, name).or_else(|| member(&text, name));
        let code = header("x-ms-error-code").map(str::to_owned);
        let region = header("x-amz-bucket-region").map(str::to_owned);
        Self {
            status,
            code: code.or_else(|| element("Code")).or_else(|| element("error")).and_then(word),
            message: element("Message")
                .or_else(|| element("error_description"))
                .and_then(|text| quote(&text)),
            region: region.or_else(|| element("Region")).and_then(word),
            wait: retry_after(headers),
            skew: skew(headers, SystemTime::now()),
        }
    }

    /// The code, or nothing.
    pub(super) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    /// True if another attempt may have another answer.
    pub(super) fn may_pass(&self) -> bool {
        let passing = [
            "RequestTimeout",
            "SlowDown",
            "InternalError",
            "ServerBusy",
            "OperationTimedOut",
            // Two conditional puts at once.
            "ConditionalRequestConflict",
            "OperationAborted",
            // The copy of an earlier attempt.
            "PendingCopyOperation",
        ];
        passing.contains(&self.code()) || (may_pass(self.status) && !self.is_full())
    }

    /// True if the store has an object of the name already.
    pub(super) fn is_taken(&self) -> bool {
        self.status == StatusCode::PRECONDITION_FAILED
            || self.status == StatusCode::NOT_MODIFIED
            || (self.status == StatusCode::CONFLICT
                && ["BlobAlreadyExists", "ObjectAlreadyExists", ""].contains(&self.code()))
    }

    /// True if the store does not know the kind of request.
    pub(super) fn is_unknown(&self) -> bool {
        self.status == StatusCode::NOT_IMPLEMENTED || self.code() == "NotImplemented"
    }

    /// True if the bucket is missing, and not an object in it.
    pub(super) fn is_without_bucket(&self) -> bool {
        let codes = ["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"];
        codes.contains(&self.code())
    }

    /// True if the store takes no more.
    pub(super) fn is_full(&self) -> bool {
        let codes = [
            "QuotaExceeded",
            "XMinioStorageFull",
            "XMinioAdminBucketQuotaExceeded",
            "InsufficientCapacity",
            "TotalAccountCapacityExceeded",
            "AccountLimitExceeded",
        ];
        self.status == StatusCode::INSUFFICIENT_STORAGE || codes.contains(&self.code())
    }
}

/// Text of the first XML element of a name.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once('<')?;
    // `&amp;` last: it must not make an entity of what was none.
    let plain = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Some(plain.replace("&apos;", "'").replace("&amp;", "&"))
}

/// Text of a member of a JSON object; Azure's and Google's servers of tokens answer so.
fn member(text: &str, name: &str) -> Option<String> {
    let object: serde_json::Value = serde_json::from_str(text).ok()?;
    let found = object.get(name).or_else(|| object.get("error")?.get(name.to_lowercase()))?;
    found.as_str().map(str::to_owned)
}

/// A short word, or nothing.
fn word(text: String) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain)).then_some(text)
}

/// The first line of a text, without credentials and control characters.
fn quote(text: &str) -> Option<String> {
    let line = text.trim().lines().next()?.trim();
    let mut shown = redact_text(line).replace(|letter: char| letter.is_control(), " ");
    if shown.len() > LONGEST_QUOTE {
        let end = (0..=LONGEST_QUOTE).rev().find(|end| shown.is_char_boundary(*end));
        shown.truncate(end.unwrap_or(0));
        shown.push('…');
    }
    (!shown.is_empty()).then_some(shown)
}

/// Compares this machine's clock with the answer's date.
fn skew(headers: &HeaderMap, now: SystemTime) -> Option<Skew> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let (difference, is_behind) = match date.duration_since(now) {
        Ok(ahead) => (ahead, true),
        Err(error) => (error.duration(), false),
    };
    (difference > MOST_SKEW).then_some(Skew { difference, is_behind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> StoreAnswer {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        StoreAnswer::read(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn answers_of_all_clouds_are_read() {
        let xml = |code: &str, message: &str| {
            format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
            )
        };
        let answer = read(404, &[], &xml("NoSuchBucket", "The &quot;b&quot; is &amp;\nlost"));
        assert_eq!(answer.code(), "NoSuchBucket");
        assert_eq!(answer.message.as_deref(), Some("The \"b\" is &"), "the first line");
        assert!(answer.is_without_bucket());
        let answer = read(301, &[("x-amz-bucket-region", "eu-west-1")], "");
        assert_eq!(answer.region.as_deref(), Some("eu-west-1"));
        let answer = read(409, &[("x-ms-error-code", "BlobAlreadyExists")], "");
        assert!(answer.is_taken() && !answer.may_pass());
        let answer = read(409, &[], &xml("ConditionalRequestConflict", "x"));
        assert!(!answer.is_taken() && answer.may_pass());
        let token = r#"{"error":"invalid_grant","error_description":"Invalid JWT"}"#;
        let answer = read(400, &[], token);
        assert_eq!(
            (answer.code(), answer.message.as_deref()),
            ("invalid_grant", Some("Invalid JWT"))
        );
        assert!(read(507, &[], "").is_full() && !read(507, &[], "").may_pass());
        assert!(read(503, &[], "").may_pass() && read(429, &[], "").may_pass());
        assert_eq!(read(503, &[("retry-after", "7")], "").wait, Some(Duration::from_secs(7)));
    }

    #[test]
    fn quotes_are_short_and_without_credentials() {
        let answer = read(
            403,
            &[],
            "<Code>a b</Code><Message>see https://u:p@h/?sig=s3cr3t \u{1b}[1m</Message>",
        );
        assert_eq!(answer.code, None, "a code is one word");
        assert_eq!(answer.message.as_deref(), Some("see https://h/?sig=  [1m"));
        let long = format!("<Message>{}</Message>", "é".repeat(500));
        assert!(read(403, &[], &long).message.unwrap().len() < LONGEST_QUOTE + 8);
        for broken in ["", "<Code>", "<Code></Code>", "{", "[]", "<html>", "{\"error\":1}"] {
            let answer = read(403, &[], broken);
            assert_eq!((answer.code, answer.message), (None, None), "{broken}");
        }
    }

    #[test]
    fn clocks_are_compared() {
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        let headers = HeaderMap::from_iter([(DATE, date.parse().unwrap())]);
        let now = httpdate::parse_http_date(date).unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(skew(&headers, now), None);
        assert_eq!(skew(&headers, now + Duration::from_secs(60)), None);
        let found = |is_behind| Some(Skew { difference: hour, is_behind });
        assert_eq!(skew(&headers, now + hour), found(false));
        assert_eq!(skew(&headers, now - hour), found(true));
    }
}
