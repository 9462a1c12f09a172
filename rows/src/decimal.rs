//! Decimals: amounts of money, say, added up without rounding.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul, Neg, Sub};
use std::str::FromStr;

use crate::order::{self, Damaged, Place};
use crate::row::Row;
use crate::schema::Kind;

/// A decimal of a fixed scale: `SCALE` digits after the point, up to 38 in all. It is shown with all digits of its scale.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const SCALE: u8>(i128);

impl<const SCALE: u8> Decimal<SCALE> {
    /// The decimal of so many units of the last digit: 1250 is 12.50 where the scale is 2.
    pub const fn from_units(units: i128) -> Self {
        Decimal(units)
    }

    /// How many units of the last digit it is.
    pub const fn units(self) -> i128 {
        self.0
    }

    /// The sum, unless it has more digits than a decimal holds.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Decimal)
    }
}

/// Shows `units` of the last of `scale` digits after the point.
pub(crate) fn show(units: i128, scale: u8, f: &mut impl fmt::Write) -> fmt::Result {
    let (sign, digits) = (if units < 0 { "-" } else { "" }, units.unsigned_abs());
    if scale == 0 {
        return write!(f, "{sign}{digits}");
    }
    let one = 10u128.pow(u32::from(scale));
    write!(f, "{sign}{}.{:0width$}", digits / one, digits % one, width = usize::from(scale))
}

/// A decimal of a scale that is known at run time, with all digits of that.
pub fn decimal_text(units: i128, scale: u8) -> String {
    struct Shown(i128, u8);
    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            show(self.0, self.1, f)
        }
    }
    Shown(units, scale).to_string()
}

/// Why a text is not a decimal of a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDecimal {
    /// It is not a number.
    NotANumber,
    /// It has more digits after the point than the scale, which is this one. It is never rounded.
    TooFine(u8),
    /// It is too large for a decimal of this scale.
    TooLarge(u8),
}

impl fmt::Display for NotDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotDecimal::NotANumber => f.write_str("it is not a decimal number"),
            NotDecimal::TooFine(scale) => write!(f, "it has more than {scale} digits after the point"),
            NotDecimal::TooLarge(scale) => write!(f, "it is too large for a decimal of scale {scale}"),
        }
    }
}

impl std::error::Error for NotDecimal {}

/// The most units that are read: 28 digits are sure to be. It leaves room for sums of thousands of millions of them.
const MOST: u128 = (1 << 96) - 1;

/// Reads a decimal number as units of the last of `scale` digits after the point.
///
/// # Errors
/// If it is not a number, has more digits than that (it is never rounded), or is too large: 28 digits are sure to be read.
pub fn decimal_units(text: &str, scale: u8) -> Result<i128, NotDecimal> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, read_exponent(exponent)?),
        None => (text, 0),
    };
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        return Err(NotDecimal::NotANumber);
    }
    let too_large = || NotDecimal::TooLarge(scale);
    // So many of the digits are whole units; zeros follow, where there are fewer.
    let mut places = (whole.len() as i64).saturating_add(exponent).saturating_add(scale.into());
    let mut units = 0u128;
    for digit in digits().map(|digit| u128::from(digit - b'0')) {
        if places > 0 {
            units = units.checked_mul(10).and_then(|units| units.checked_add(digit)).ok_or_else(too_large)?;
        } else if digit != 0 {
            return Err(NotDecimal::TooFine(scale));
        }
        places = places.saturating_sub(1);
    }
    if units != 0 && places > 0 {
        let zeros = u32::try_from(places).ok().and_then(|places| 10u128.checked_pow(places));
        units = zeros.and_then(|zeros| units.checked_mul(zeros)).ok_or_else(too_large)?;
    }
    match i128::try_from(units) {
        Ok(signed) if units <= MOST => Ok(if number.starts_with('-') { -signed } else { signed }),
        _ => Err(too_large()),
    }
}

/// One that no number of digits makes up for is as good as any other such.
fn read_exponent(text: &str) -> Result<i64, NotDecimal> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse().or_else(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow => Ok(i64::MAX),
        NegOverflow => Ok(i64::MIN),
        _ => Err(NotDecimal::NotANumber),
    })
}

impl<const SCALE: u8> fmt::Display for Decimal<SCALE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, SCALE, f)
    }
}

impl<const SCALE: u8> fmt::Debug for Decimal<SCALE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const SCALE: u8> FromStr for Decimal<SCALE> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        decimal_units(text, SCALE).map(Decimal).map_err(|why| format!("{text:?}: {why}"))
    }
}

impl<const SCALE: u8> Add for Decimal<SCALE> {
    type Output = Self;
    /// # Panics
    /// If the sum has more than 38 digits; [`Decimal::checked_add`] says so instead.
    fn add(self, other: Self) -> Self {
        self.checked_add(other).expect("a decimal has at most 38 digits")
    }
}

impl<const SCALE: u8> Sub for Decimal<SCALE> {
    type Output = Self;
    /// # Panics
    /// As the sum.
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl<const SCALE: u8> Neg for Decimal<SCALE> {
    type Output = Self;
    fn neg(self) -> Self {
        Decimal(self.0.checked_neg().expect("a decimal has at most 38 digits"))
    }
}

impl<const SCALE: u8> Mul<i64> for Decimal<SCALE> {
    type Output = Self;
    /// # Panics
    /// As the sum.
    fn mul(self, times: i64) -> Self {
        Decimal(self.0.checked_mul(i128::from(times)).expect("a decimal has at most 38 digits"))
    }
}

impl<const SCALE: u8> Sum for Decimal<SCALE> {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Decimal(0), Add::add)
    }
}

impl<const SCALE: u8> Row for Decimal<SCALE> {
    type Ref<'a> = Self;
    #[inline]
    fn borrow(&self) -> Self {
        *self
    }
    #[inline]
    fn to_owned(row: Self) -> Self {
        row
    }
    #[inline]
    fn write(row: Self, _place: Place, out: &mut Vec<u8>) {
        order::write_i128(row.0, out);
    }
    #[inline]
    fn read(bytes: &mut &[u8], _place: Place) -> Result<Self, Damaged> {
        order::read_i128(bytes).map(Decimal)
    }
    fn kind() -> Kind {
        Kind::Decimal(SCALE)
    }
}

crate::serialize_as_encoding!([const SCALE: u8] Decimal<SCALE>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_scale_and_are_never_rounded() {
        let read = |text: &str| text.parse::<Decimal<2>>().map(|decimal| decimal.to_string());
        for (text, shown) in
            [("12.5", "12.50"), ("-0.07", "-0.07"), ("0", "0.00"), ("1e3", "1000.00"), ("1.500", "1.50")]
        {
            assert_eq!(read(text).unwrap(), shown, "{text}");
        }
        for wrong in ["", "1.005", "x", "1_0", "1 ", "1.2.3", "1e400", "99999999999999999999999999999"] {
            assert!(read(wrong).is_err(), "{wrong}: {:?}", read(wrong));
        }
        assert_eq!(Decimal::<0>::from_units(-7).to_string(), "-7");
        let cents = [0.01, 0.02].map(|_| Decimal::<2>::from_units(1)).into_iter().sum::<Decimal<2>>();
        assert_eq!((cents * -3 - cents).to_string(), "-0.08");
        assert_eq!(Decimal::<2>::from_units(i128::MAX).checked_add(Decimal::from_units(1)), None);
        assert!(Decimal::<38>::from_units(i128::MIN).to_string().starts_with("-1.70"));
    }

    #[test]
    fn what_is_no_decimal_of_a_scale_is_told_apart() {
        use NotDecimal::{NotANumber, TooFine, TooLarge};
        let zeros = "0".repeat(60);
        for (text, units) in [
            ("+.5", 50),
            ("5.", 500),
            ("-0", 0),
            ("0e400", 0),
            ("1E+2", 10_000),
            ("120e-1", 1200),
            ("-792281625142643375935439503.35", 1 - (1 << 96)),
        ] {
            assert_eq!(decimal_units(text, 2), Ok(units), "{text}");
        }
        for text in [format!("1.{zeros}"), format!("{zeros}1"), format!("1{zeros}e-60")] {
            assert_eq!(decimal_units(&text, 2), Ok(100), "{text}");
        }
        for (text, why) in [
            ("792281625142643375935439503.36", TooLarge(2)),
            ("12345678901234567890123456789012345678", TooLarge(2)),
            ("1700000000000000000000000000000000000.00", TooLarge(2)),
            ("1e99999999999999999999", TooLarge(2)),
            ("1e-99999999999999999999", TooFine(2)),
            ("0.001", TooFine(2)),
            ("", NotANumber),
            (".", NotANumber),
            ("-", NotANumber),
            ("--5", NotANumber),
            ("1e", NotANumber),
            ("1e1e1", NotANumber),
            ("e5", NotANumber),
            ("１", NotANumber),
        ] {
            assert_eq!(decimal_units(text, 2), Err(why), "{text}");
        }
    }
}
