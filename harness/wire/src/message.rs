//! The harness's test messages, byte for byte reproducible.

use crate::identity::{CLIENT_HOST, IDENTITY_HEADER};

/// Longest body line, in bytes without its CRLF.
const LINE: usize = 76;

/// What a test message is made from. The same values give the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct MessageSpec<'a> {
    /// The run's id: letters, digits and `-`, 1..=64 of them.
    pub run: &'a str,
    /// The message's number within the run.
    pub number: u64,
    /// Bytes of content wanted, exact for attempts 1 to 9. Never less than the
    /// headers and the first body line need, nor one line end away from it.
    pub size: usize,
    /// Seed of the body.
    pub seed: u64,
    /// Address in From.
    pub from: &'a str,
    /// Addresses in To; their count is also in the identity header.
    pub to: &'a [&'a str],
    /// Seconds since 1970-01-01T00:00:00Z, for Date; years 1 to 9999.
    pub unix_seconds: i64,
}

/// Why no message can be made from a [`MessageSpec`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The run's id would not survive in a header.
    #[error("a run id is 1 to 64 letters, digits and `-`, got `{0}`")]
    Run(String),
    /// An address would not survive in a header.
    #[error("an address must be printable and without spaces or angle brackets, got `{0}`")]
    Address(String),
    /// The date has no four-digit year.
    #[error("{0} seconds since 1970 is not in the years 1 to 9999")]
    Date(i64),
}

impl MessageSpec<'_> {
    /// Whether a message can be made that [`identify`](crate::identify) will
    /// recognise.
    ///
    /// # Errors
    /// If a value breaks the bounds given with its field.
    pub fn validate(&self) -> Result<(), SpecError> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=64).contains(&self.run.len()) || !self.run.bytes().all(letters) {
            return Err(SpecError::Run(self.run.escape_debug().to_string()));
        }
        let bad = |address: &&&str| {
            address
                .bytes()
                .any(|byte| byte <= b' ' || matches!(byte, b'<' | b'>' | 0x7f))
        };
        if let Some(address) = [self.from].iter().chain(self.to).find(bad) {
            return Err(SpecError::Address(address.escape_debug().to_string()));
        }
        if !(-62_135_596_800..=253_402_300_799).contains(&self.unix_seconds) {
            return Err(SpecError::Date(self.unix_seconds));
        }
        Ok(())
    }

    /// The content for one attempt, counted from 1. Attempts differ in the
    /// first header field only. The values should be [valid](Self::validate).
    #[must_use]
    pub fn content(&self, attempt: u32) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(self.size.clamp(512, 1 << 30)));
        let start = self.trace(attempt, &mut out);
        // The body may not depend on how many digits the attempt has.
        self.identical_part(self.size.saturating_sub(start), &mut out);
        out.0
    }

    /// The Message-ID, with its angle brackets.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("<{}.{}@mailproof.test>", self.number, self.run)
    }

    /// Our own Received field. Returns the length that it has in attempt 1.
    fn trace(&self, attempt: u32, out: &mut Writer) -> usize {
        let digits = out
            .text("Received: from ")
            .text(CLIENT_HOST)
            .text(" (mailproof run=")
            .text(self.run)
            .text(" msg=")
            .number(self.number)
            .text(" attempt ")
            .0
            .len();
        out.number(attempt.into());
        let extra = out.0.len() - digits - 1;
        out.text(")\r\n\tby wire.mailproof.test with ESMTP id ")
            .number(self.number)
            .text(".")
            .text(self.run)
            .text(";\r\n\t")
            .date(self.unix_seconds)
            .text("\r\n");
        out.0.len() - extra
    }

    /// Everything below our Received field, about `size` bytes.
    fn identical_part(&self, size: usize, out: &mut Writer) {
        let start = out.0.len();
        out.text(IDENTITY_HEADER)
            .text(": run=")
            .text(self.run)
            .text(" msg=")
            .number(self.number)
            .text(" rcpts=")
            .number(self.to.len() as u64)
            .text("\r\nFrom: <")
            .text(self.from)
            .text(">\r\nTo: ");
        for (index, address) in self.to.iter().enumerate() {
            // A field a line: no line grows past the 998 bytes of RFC 5322.
            let gap = if index == 0 { "<" } else { ",\r\n\t<" };
            out.text(gap).text(address).text(">");
        }
        if self.to.is_empty() {
            out.text("undisclosed-recipients:;");
        }
        out.text("\r\nSubject: mailproof message ")
            .number(self.number)
            .text("\r\nMessage-ID: <")
            .number(self.number)
            .text(".")
            .text(self.run)
            .text("@mailproof.test>\r\nDate: ")
            .date(self.unix_seconds)
            .text("\r\n\r\nmailproof run=")
            .text(self.run)
            .text(" msg=")
            .number(self.number)
            .text("\r\n");
        // Each message has its own stream of random words.
        let mut random = Random(self.seed ^ self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut line = [0; LINE + 4];
        let mut index = 0;
        loop {
            let left = size.saturating_sub(out.0.len() - start);
            if left < 3 {
                return;
            }
            random.fill(&mut line);
            // Lines that dot-stuffing must get right, early and often.
            let leading: &[u8] = match index % 8 {
                0 => b".",
                1 if index % 64 == 1 => b"..",
                _ => b"",
            };
            let mut len = LINE.min(left - 2);
            if index % 64 == 2 && left > 6 {
                line[0] = b'.';
                len = 1;
            } else if left - 2 > LINE && left - 2 < LINE + 3 {
                // What would be left has no room for another line.
                len = left - 2 - 3;
            }
            let dots = leading.len().min(len);
            line[..dots].copy_from_slice(&leading[..dots]);
            out.0.extend_from_slice(&line[..len]);
            out.text("\r\n");
            index += 1;
        }
    }
}

/// SplitMix64: small, fast and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Fills `line` with the 64 characters from `0` to `o`: six random bits a
    /// byte, no dot, no space, no line break among them.
    fn fill(&mut self, line: &mut [u8]) {
        for word in line.chunks_exact_mut(8) {
            let random = (self.next() & 0x3f3f_3f3f_3f3f_3f3f) + 0x3030_3030_3030_3030;
            word.copy_from_slice(&random.to_le_bytes());
        }
    }
}

/// Appends text without going through the formatting machinery.
struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[at..]);
        self
    }

    fn two_digits(&mut self, number: i64) -> &mut Self {
        // Hours, minutes, seconds, days: below 100.
        let number = number.unsigned_abs() % 100;
        self.0
            .extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
        self
    }

    /// RFC 5322 3.3 date-time in UTC.
    fn date(&mut self, unix_seconds: i64) -> &mut Self {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let day = unix_seconds.div_euclid(86_400);
        let second = unix_seconds.rem_euclid(86_400);
        // Years are counted from March, so that a leap day ends one, and in eras
        // of 400 years, which repeat exactly.
        let since_era_zero = day.saturating_add(719_468);
        let era = since_era_zero.div_euclid(146_097);
        let day_of_era = since_era_zero.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12;
        let year = year_of_era + 400 * era + i64::from(month < 2);
        self.text(DAYS[day.rem_euclid(7) as usize])
            .text(", ")
            .two_digits(day_of_month)
            .text(" ")
            .text(MONTHS[month as usize])
            .text(" ")
            .two_digits(year / 100)
            .two_digits(year % 100)
            .text(" ")
            .two_digits(second / 3600)
            .text(":")
            .two_digits(second / 60 % 60)
            .text(":")
            .two_digits(second % 60)
            .text(" +0000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Parts;

    const SPEC: MessageSpec<'static> = MessageSpec {
        run: "a-1",
        number: 7,
        size: 1024,
        seed: 99,
        from: "7.a-1@client.mailproof.test",
        to: &["x@mailbox.mailproof.test", "y@mailbox.mailproof.test"],
        unix_seconds: 1_763_755_560,
    };

    #[test]
    fn the_bytes_are_well_formed() {
        let content = SPEC.content(1);
        SPEC.validate().unwrap();
        assert_eq!(content, SPEC.content(1));
        let parts = Parts::split(&content);
        let value = |name: &str| String::from_utf8(parts.first(name).unwrap().value()).unwrap();
        assert_eq!(
            value("received"),
            "from mailproof-client (mailproof run=a-1 msg=7 attempt 1)\tby wire.mailproof.test with ESMTP id 7.a-1;\tFri, 21 Nov 2025 20:06:00 +0000"
        );
        assert_eq!(value("x-mailproof"), "run=a-1 msg=7 rcpts=2");
        assert_eq!(
            value("to"),
            "<x@mailbox.mailproof.test>,\t<y@mailbox.mailproof.test>"
        );
        assert_eq!(value("message-id"), SPEC.message_id());
        assert_eq!(value("date"), "Fri, 21 Nov 2025 20:06:00 +0000");
        assert!(parts.body.starts_with(b"mailproof run=a-1 msg=7\r\n."));
        assert!(content.ends_with(b"\r\n"));
        assert!(memchr::memmem::find(&content, b"\r\n.\r\n").is_some());
        for line in content.split(|byte| *byte == b'\n') {
            assert!(
                line.len() < 998
                    && line
                        .iter()
                        .all(|byte| matches!(byte, b'\t' | b'\r' | b' '..=b'~'))
            );
            assert!(line.is_empty() || line.ends_with(b"\r"));
        }
    }

    #[test]
    fn sizes_are_honoured() {
        let least = MessageSpec { size: 0, ..SPEC }.content(1).len();
        assert!(least < 600, "{least}");
        for size in least..least + 700 {
            let got = MessageSpec { size, ..SPEC }.content(1).len();
            assert!(
                got == size || (size < least + 3 && got == least),
                "{size} {got}"
            );
        }
        for size in [1 << 16, (1 << 20) + 1] {
            assert_eq!(MessageSpec { size, ..SPEC }.content(9).len(), size);
        }
    }

    #[test]
    fn attempts_differ_in_one_field_and_messages_differ_everywhere() {
        let below = |content: &[u8]| {
            let at = memchr::memmem::find(content, IDENTITY_HEADER.as_bytes()).unwrap();
            content[at..].to_vec()
        };
        let first = below(&SPEC.content(1));
        for attempt in [2, 10, u32::MAX] {
            assert_eq!(below(&SPEC.content(attempt)), first);
        }
        let body = |spec: MessageSpec<'_>| {
            let content = spec.content(1);
            Parts::split(&content).body[26..].to_vec()
        };
        assert_ne!(body(SPEC), body(MessageSpec { number: 8, ..SPEC }));
        assert_ne!(body(SPEC), body(MessageSpec { seed: 98, ..SPEC }));
    }

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
            (-1, "Wed, 31 Dec 1969 23:59:59 +0000"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 +0000"),
            (-62_135_596_800, "Mon, 01 Jan 0001 00:00:00 +0000"),
        ] {
            let mut out = Writer(Vec::new());
            assert_eq!(String::from_utf8_lossy(&out.date(seconds).0), text);
        }
        let mut out = Writer(Vec::new());
        out.date(i64::MAX).date(i64::MIN);
    }

    #[test]
    fn what_would_not_survive_is_refused() {
        for spec in [
            MessageSpec { run: "", ..SPEC },
            MessageSpec { run: "a b", ..SPEC },
            MessageSpec {
                from: "a\r\nb",
                ..SPEC
            },
            MessageSpec {
                to: &["a", "<b>"],
                ..SPEC
            },
            MessageSpec {
                unix_seconds: i64::MAX,
                ..SPEC
            },
        ] {
            assert!(spec.validate().is_err(), "{spec:?}");
        }
    }
}
