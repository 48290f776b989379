//! Parameters of MAIL and RCPT (RFC 5321 4.1.2, 1870, 3461, 6152, 6531).
//!
//! ENVID and ORCPT stay in the encoding in which they came (xtext, RFC 3461
//! section 4), so that they are passed on unchanged; only a DSN decodes them.

use crate::record::{NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_NEVER, NOTIFY_SUCCESS};
use crate::record::{RET_FULL, RET_HDRS};

/// Longest ENVID, encoded (RFC 3461 4.4).
const MAX_ENVID: usize = 100;
/// Longest ORCPT, encoded (RFC 3461 4.2).
const MAX_ORCPT: usize = 500;

/// The parameters of MAIL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MailParams<'a> {
    /// `SIZE=`, in bytes.
    pub(crate) size: Option<u64>,
    /// `BODY=8BITMIME`.
    pub(crate) eight_bit: bool,
    /// `SMTPUTF8`.
    pub(crate) utf8: bool,
    /// `RET=`, as [`RET_FULL`] or [`RET_HDRS`]; 0 without it.
    pub(crate) ret: u8,
    /// `ENVID=`, encoded; empty without it.
    pub(crate) envid: &'a str,
}

/// The parameters of RCPT.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RcptParams<'a> {
    /// `NOTIFY=`, as bits; 0 without it.
    pub(crate) notify: u8,
    /// `ORCPT=`, encoded; empty without it.
    pub(crate) orcpt: &'a str,
}

/// Why a parameter is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadParam {
    /// Not one we know: `555`.
    Unknown,
    /// A value that cannot be, or the parameter twice: `501`.
    Syntax,
}

/// Keywords and values of `text`.
fn each(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(' ')
        .filter(|param| !param.is_empty())
        .map(|param| match param.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (param, None),
        })
}

/// Parses the parameters of MAIL. `auth`: whether `AUTH=` is one of them (RFC
/// 4954 5); its value is not used, since no server here is trusted to vouch
/// for others.
pub(crate) fn mail_params(text: &str, auth: bool) -> Result<MailParams<'_>, BadParam> {
    let mut params = MailParams::default();
    let (mut body_seen, mut envid_seen, mut auth_seen) = (false, false, false);
    for (keyword, value) in each(text) {
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        if is("SIZE") {
            let digits = value.ok_or(BadParam::Syntax)?;
            if params.size.is_some()
                || digits.is_empty()
                || digits.len() > 20
                || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return Err(BadParam::Syntax);
            }
            params.size = Some(digits.parse().unwrap_or(u64::MAX));
        } else if is("BODY") {
            if std::mem::replace(&mut body_seen, true) {
                return Err(BadParam::Syntax);
            }
            match value {
                Some(v) if v.eq_ignore_ascii_case("8BITMIME") => params.eight_bit = true,
                Some(v) if v.eq_ignore_ascii_case("7BIT") => {}
                _ => return Err(BadParam::Syntax),
            }
        } else if is("SMTPUTF8") {
            if value.is_some() || params.utf8 {
                return Err(BadParam::Syntax);
            }
            params.utf8 = true;
        } else if is("RET") {
            let ret = match value {
                Some(v) if v.eq_ignore_ascii_case("FULL") => RET_FULL,
                Some(v) if v.eq_ignore_ascii_case("HDRS") => RET_HDRS,
                _ => return Err(BadParam::Syntax),
            };
            if std::mem::replace(&mut params.ret, ret) != 0 {
                return Err(BadParam::Syntax);
            }
        } else if is("ENVID") {
            let value = value.ok_or(BadParam::Syntax)?;
            if std::mem::replace(&mut envid_seen, true)
                || value.len() > MAX_ENVID
                || !is_xtext(value, false)
            {
                return Err(BadParam::Syntax);
            }
            params.envid = value;
        } else if is("AUTH") && auth {
            let value = value.ok_or(BadParam::Syntax)?;
            let good = value == "<>" || is_xtext(value, false);
            if std::mem::replace(&mut auth_seen, true) || !good {
                return Err(BadParam::Syntax);
            }
        } else {
            return Err(BadParam::Unknown);
        }
    }
    Ok(params)
}

/// Parses the parameters of RCPT; `utf8` when the transaction is one with
/// SMTPUTF8.
pub(crate) fn rcpt_params(text: &str, utf8: bool) -> Result<RcptParams<'_>, BadParam> {
    let mut params = RcptParams::default();
    let mut orcpt_seen = false;
    for (keyword, value) in each(text) {
        let value = value.ok_or(BadParam::Syntax);
        if keyword.eq_ignore_ascii_case("NOTIFY") {
            let notify = notify(value?)?;
            if std::mem::replace(&mut params.notify, notify) != 0 {
                return Err(BadParam::Syntax);
            }
        } else if keyword.eq_ignore_ascii_case("ORCPT") {
            let value = value?;
            let (kind, address) = value.split_once(';').ok_or(BadParam::Syntax)?;
            let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~.".contains(&b);
            if std::mem::replace(&mut orcpt_seen, true)
                || value.len() > MAX_ORCPT
                || kind.is_empty()
                || !kind.bytes().all(atom)
                || address.is_empty()
                || !is_xtext(address, utf8)
            {
                return Err(BadParam::Syntax);
            }
            params.orcpt = value;
        } else {
            return Err(BadParam::Unknown);
        }
    }
    Ok(params)
}

/// NEVER alone, or some of SUCCESS, FAILURE and DELAY (RFC 3461 4.1).
fn notify(value: &str) -> Result<u8, BadParam> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(NOTIFY_NEVER);
    }
    let mut bits = 0;
    for word in value.split(',') {
        bits |= match word {
            w if w.eq_ignore_ascii_case("SUCCESS") => NOTIFY_SUCCESS,
            w if w.eq_ignore_ascii_case("FAILURE") => NOTIFY_FAILURE,
            w if w.eq_ignore_ascii_case("DELAY") => NOTIFY_DELAY,
            _ => return Err(BadParam::Syntax),
        };
    }
    Ok(bits)
}

/// The value of a NOTIFY parameter with these bits.
pub(crate) fn notify_text(bits: u8) -> String {
    if bits & NOTIFY_NEVER != 0 {
        return "NEVER".to_owned();
    }
    let rows = [
        (NOTIFY_SUCCESS, "SUCCESS"),
        (NOTIFY_FAILURE, "FAILURE"),
        (NOTIFY_DELAY, "DELAY"),
    ];
    let words: Vec<&str> = rows
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, word)| *word)
        .collect();
    words.join(",")
}

/// Printable ASCII without `=`, and `+` only before two upper-case
/// hexadecimal digits; with `utf8` more than ASCII too (RFC 6533 3).
fn is_xtext(text: &str, utf8: bool) -> bool {
    let hex = |b: Option<&u8>| b.is_some_and(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, b)| match b {
        b'+' => hex(bytes.get(at + 1)) && hex(bytes.get(at + 2)),
        b'!'..=b'~' => *b != b'=',
        128.. => utf8,
        _ => false,
    })
}

/// What an xtext stands for; what is no printable text is replaced by `?`.
pub(crate) fn decode_xtext(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let coded = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
        match coded.filter(|_| *first == b'+') {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out)
        .chars()
        .map(|c| {
            if c.is_control() || c == char::REPLACEMENT_CHARACTER {
                '?'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_mail() {
        let all = "size=12 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb";
        assert_eq!(
            mail_params(all, false),
            Ok(MailParams {
                size: Some(12),
                eight_bit: true,
                utf8: true,
                ret: RET_HDRS,
                envid: "a+2Bb",
            })
        );
        assert_eq!(
            mail_params("SIZE=99999999999999999999", false)
                .unwrap()
                .size,
            Some(u64::MAX)
        );
        assert_eq!(mail_params("AUTH=<>", true), Ok(MailParams::default()));
        assert_eq!(mail_params("AUTH=<>", false), Err(BadParam::Unknown));
        assert_eq!(mail_params("NOTIFY=NEVER", false), Err(BadParam::Unknown));
        let long = format!("ENVID={}", "a".repeat(101));
        for bad in [
            "size=1 SIZE=2",
            "SIZE=-1",
            "SIZE=",
            "SMTPUTF8=1",
            "BODY=BINARYMIME",
            "RET=ALL",
            "RET=FULL RET=FULL",
            "ENVID=a ENVID=a",
            "ENVID=a+2",
            "ENVID=a+2b",
            "ENVID=a=b",
            &long,
        ] {
            assert_eq!(mail_params(bad, false), Err(BadParam::Syntax), "{bad}");
        }
    }

    #[test]
    fn parameters_of_rcpt() {
        let good = rcpt_params("NOTIFY=success,Delay ORCPT=rfc822;a+2Bb@c", false).unwrap();
        assert_eq!(good.notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
        assert_eq!(good.orcpt, "rfc822;a+2Bb@c");
        assert_eq!(notify_text(good.notify), "SUCCESS,DELAY");
        assert_eq!(notify_text(NOTIFY_NEVER), "NEVER");
        assert!(rcpt_params("ORCPT=utf-8;ä@b", true).is_ok());
        assert_eq!(rcpt_params("SIZE=1", false), Err(BadParam::Unknown));
        let long = format!("ORCPT=rfc822;{}", "a".repeat(500));
        for bad in [
            "NOTIFY=NEVER,FAILURE",
            "NOTIFY=FAILURE,NEVER",
            "NOTIFY=",
            "NOTIFY",
            "NOTIFY=DELAY NOTIFY=DELAY",
            "ORCPT=a@b",
            "ORCPT=;a@b",
            "ORCPT=rfc822;",
            "ORCPT=rfc822;ä@b",
            "ORCPT=rfc822;a ORCPT=rfc822;a",
            &long,
        ] {
            assert_eq!(rcpt_params(bad, false), Err(BadParam::Syntax), "{bad}");
        }
    }

    #[test]
    fn xtext_is_decoded_for_people() {
        assert_eq!(decode_xtext("a+2Bb+3Dc"), "a+b=c");
        assert_eq!(decode_xtext("a+0D+0Ab+FF"), "a??b?");
        assert_eq!(decode_xtext("+"), "+");
    }
}
