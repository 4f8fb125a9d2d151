//! Values that are texts in files and variables.

use std::num::NonZeroU16;
use std::time::Duration;

use super::settings_error::SettingsError;

/// A value as it was written, and where.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) origin: String,
    pub(crate) value: String,
}

impl Text {
    /// Makes the error for an invalid value.
    pub(super) fn wrong(&self, expected: &'static str) -> SettingsError {
        let (origin, value) = (self.origin.clone(), self.value.clone());
        SettingsError::Value { origin, value, expected }
    }

    /// A number of jobs.
    pub(crate) fn jobs(&self) -> Result<NonZeroU16, SettingsError> {
        self.value.parse().map_err(|_reason| self.wrong("number from 1 to 65535"))
    }

    /// A whole number.
    pub(crate) fn number(&self) -> Result<u64, SettingsError> {
        self.value.parse().map_err(|_reason| self.wrong("whole number below 2^64"))
    }

    /// A time above zero, such as `90s`.
    pub(crate) fn duration(&self) -> Result<Duration, SettingsError> {
        let units = [("ms", 0), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
        let number = self.value.trim_end_matches(char::is_alphabetic);
        let unit = &self.value[number.len()..];
        let seconds = units.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds);
        match (number.parse::<u64>(), seconds) {
            (Ok(number), Some(0)) if number > 0 => Ok(Duration::from_millis(number)),
            (Ok(number), Some(seconds)) if number > 0 => {
                Ok(Duration::from_secs(number.saturating_mul(seconds)))
            }
            _ => Err(self.wrong("time, such as 90s, 30m or 4h")),
        }
    }

    /// A size above zero in bytes, such as `512M`.
    pub(crate) fn size(&self) -> Result<u64, SettingsError> {
        let number = self.value.trim_end_matches(char::is_alphabetic);
        let factor = match &self.value[number.len()..] {
            "" => Some(1),
            // Both letters: SI has the small one, and users type either.
            "K" | "k" => Some(1 << 10),
            "M" => Some(1 << 20),
            "G" => Some(1 << 30),
            "T" => Some(1_u64 << 40),
            _ => None,
        };
        number
            .parse::<u64>()
            .ok()
            .zip(factor)
            // A number that overflows is refused: it must not become a small limit.
            .and_then(|(number, factor)| number.checked_mul(factor))
            .filter(|size| *size > 0)
            .ok_or_else(|| self.wrong("size in bytes, such as 512M or 8G"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        let text = |value: &str| Text { origin: "x".to_owned(), value: value.to_owned() };
        let duration = |value| text(value).duration();
        let size = |value| text(value).size();
        assert_eq!(duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("200ms").unwrap(), Duration::from_millis(200));
        assert_eq!(duration("4h").unwrap(), Duration::from_secs(14_400));
        assert_eq!(size("8G").unwrap(), 8 << 30);
        for bad in ["", "4", "h", "0s", "-1s", "1.5h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "G", "0", "1X", "99999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
