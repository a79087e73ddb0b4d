//! Messages of Protocol Buffers, field by field: what is not changed stays as CRIU wrote it, known here or not.

use anyhow::{Context, Result, bail};

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its number in the `.proto` file.
    pub number: u64,
    /// What it holds.
    pub value: Value,
}

/// What a field holds, as it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An integer, whose sign and width its message knows.
    Number(u64),
    /// A string, bytes, or a message.
    Bytes(Vec<u8>),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Four bytes.
    Fixed32([u8; 4]),
}

/// The fields of a message, in their order.
pub fn fields(mut bytes: &[u8]) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_number(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(take_number(&mut bytes)?),
            1 => Value::Fixed64(take(&mut bytes)?),
            2 => {
                let length = usize::try_from(take_number(&mut bytes)?)?;
                let (value, rest) = bytes.split_at_checked(length).context("a field is cut off")?;
                bytes = rest;
                Value::Bytes(value.to_vec())
            }
            5 => Value::Fixed32(take(&mut bytes)?),
            other => bail!("a field of the unknown form {other}"),
        };
        fields.push(Field { number: key >> 3, value });
    }
    Ok(fields)
}

/// A number of 64 bits, the lowest seven first; the highest bit of a byte says that more follow (Protocol Buffers,
/// "Encoding", "Base 128 Varints").
fn take_number(bytes: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = take(bytes)?;
        let seven = u64::from(byte & 0x7f);
        if seven << shift >> shift != seven {
            break;
        }
        number |= seven << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    bail!("a number of more than 64 bits")
}

fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (value, rest) = bytes.split_first_chunk::<N>().context("a field is cut off")?;
    *bytes = rest;
    Ok(*value)
}

/// The message of these fields.
pub fn message(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        let mut key = |form: u64| put_number(field.number << 3 | form, &mut bytes);
        match &field.value {
            Value::Number(number) => {
                key(0);
                put_number(*number, &mut bytes);
            }
            Value::Fixed64(value) => {
                key(1);
                bytes.extend(value);
            }
            Value::Bytes(value) => {
                key(2);
                put_number(value.len() as u64, &mut bytes);
                bytes.extend(value);
            }
            Value::Fixed32(value) => {
                key(5);
                bytes.extend(value);
            }
        }
    }
    bytes
}

/// The number under `number`, where there is one.
pub(crate) fn number(fields: &[Field], number: u64) -> Option<u64> {
    fields.iter().find(|field| field.number == number).and_then(|field| match field.value {
        Value::Number(value) => Some(value),
        _ => None,
    })
}

/// The numbers under `numbers`, 0 where there is none, as the format has it.
pub fn numbers<const N: usize>(fields: &[Field], numbers: [u64; N]) -> [u64; N] {
    numbers.map(|wanted| number(fields, wanted).unwrap_or_default())
}

/// Every string or message under `number`.
pub fn all(fields: &[Field], number: u64) -> impl Iterator<Item = &[u8]> {
    fields.iter().filter(move |field| field.number == number).filter_map(|field| match &field.value {
        Value::Bytes(bytes) => Some(bytes.as_slice()),
        _ => None,
    })
}

/// The number under the last of `path`, in the message that is under those before, each in the one before it.
pub(crate) fn number_at(message: &[u8], path: &[u64]) -> Result<Option<u64>> {
    let message = fields(message)?;
    match path {
        [] => Ok(None),
        [last] => Ok(number(&message, *last)),
        [first, rest @ ..] => match all(&message, *first).next() {
            Some(within) => number_at(within, rest),
            None => Ok(None),
        },
    }
}

/// The fields with these numbers in place of what was there.
pub(crate) fn with_numbers(fields: &[Field], new: &[(u64, u64)]) -> Vec<Field> {
    let mut fields = fields.to_vec();
    for (number, value) in new {
        let field = Field { number: *number, value: Value::Number(*value) };
        match fields.iter_mut().find(|field| field.number == *number) {
            Some(found) => *found = field,
            None => fields.push(field),
        }
    }
    fields
}

/// Puts another string or message in the place of a field's; whether there was one.
pub(crate) fn put_bytes(fields: &mut [Field], number: u64, bytes: Vec<u8>) -> bool {
    let found = fields.iter_mut().find(|field| field.number == number);
    found.map(|field| field.value = Value::Bytes(bytes)).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_field() -> impl Strategy<Value = Field> {
        let value = prop_oneof![
            any::<u64>().prop_map(Value::Number),
            proptest::collection::vec(any::<u8>(), 0..200).prop_map(Value::Bytes),
            any::<[u8; 8]>().prop_map(Value::Fixed64),
            any::<[u8; 4]>().prop_map(Value::Fixed32),
        ];
        (1..536_870_912_u64, value).prop_map(|(number, value)| Field { number, value })
    }

    proptest! {
        #[test]
        fn what_is_not_changed_comes_back(all in proptest::collection::vec(any_field(), 0..20)) {
            prop_assert_eq!(fields(&message(&all)).unwrap(), all);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(all) = fields(&bytes) {
                prop_assert_eq!(fields(&message(&all)).unwrap(), all);
            }
        }
    }

    #[test]
    fn numbers_are_as_the_format_has_them() {
        let check = |bytes: &[u8], expected: Option<u64>| {
            let mut rest = bytes;
            assert_eq!(take_number(&mut rest).ok(), expected, "{bytes:x?}");
            if let Some(number) = expected {
                let mut again = Vec::new();
                put_number(number, &mut again);
                assert_eq!((again.as_slice(), rest), (bytes, &[][..]));
            }
        };
        check(&[0], Some(0));
        check(&[0x7f], Some(127));
        check(&[0x96, 1], Some(150));
        check(&[0x80, 0x80, 1], Some(1 << 14));
        check(&[&[0xff; 9][..], &[1]].concat(), Some(u64::MAX));
        check(&[], None);
        check(&[0x96], None);
        check(&[&[0xff; 9][..], &[3]].concat(), None);
        check(&[&[0x80; 10][..], &[1]].concat(), None);
    }

    #[test]
    fn what_is_within_is_found_by_its_path() {
        // 2: { 1: 7, 3: { 20: 9 } }, 2: { 1: 8 }
        let bytes = [18, 7, 8, 7, 26, 3, 160, 1, 9, 18, 2, 8, 8];
        let check = |path: &[u64], expected| assert_eq!(number_at(&bytes, path).unwrap(), expected);
        check(&[2, 1], Some(7));
        check(&[2, 3, 20], Some(9));
        check(&[2], None);
        check(&[2, 1, 1], None);
        check(&[], None);
        assert_eq!(all(&fields(&bytes).unwrap(), 2).count(), 2);
        assert_eq!(numbers(&fields(&bytes[2..4]).unwrap(), [1, 5]), [7, 0]);
    }

    #[test]
    fn one_number_changes_and_the_rest_stays() {
        let check = |bytes: &[u8], new: &[(u64, u64)], expected: &[u8]| {
            assert_eq!(message(&with_numbers(&fields(bytes).unwrap(), new)), expected);
        };
        check(&[8, 1, 18, 1, b'x', 24, 7], &[(3, 9)], &[8, 1, 18, 1, b'x', 24, 9]);
        check(&[8, 1], &[(2, 300)], &[8, 1, 16, 0xac, 2]);
        check(&[], &[], &[]);
    }
}
