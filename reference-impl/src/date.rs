//! Dates of header fields (RFC 5322 3.3), always in UTC.

use std::fmt;

/// Unix milliseconds, shown as `Sat, 21 Nov 2026 20:03:00 +0000`.
pub(crate) struct Date(pub(crate) u64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        // Beyond the year 9999 the date would get a fifth digit.
        let seconds = (self.0 / 1000).min(253_402_300_799);
        let days = seconds / 86_400;
        let (year, month, day) = civil(days);
        let second = seconds % 86_400;
        write!(
            f,
            "{}, {day} {} {year:04} {:02}:{:02}:{:02} +0000",
            DAYS[(days % 7) as usize],
            MONTHS[month as usize - 1],
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01: in years that begin
/// on 1 March the leap day comes last, so that month lengths repeat.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let of_era = z % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(Date(0).to_string(), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(
            Date(951_782_400_000).to_string(),
            "Tue, 29 Feb 2000 00:00:00 +0000"
        );
        assert_eq!(
            Date(1_795_291_380_999).to_string(),
            "Sat, 21 Nov 2026 20:03:00 +0000"
        );
        assert_eq!(
            Date(4_107_542_399_000).to_string(),
            "Sun, 28 Feb 2100 23:59:59 +0000"
        );
        assert_eq!(
            Date(u64::MAX).to_string(),
            "Fri, 31 Dec 9999 23:59:59 +0000"
        );
    }
}
