//! Messages of Protocol Buffers, field by field: what is not changed stays as CRIU wrote it, known here or not.

use anyhow::{Context, Result, bail};
use prost::encoding::{decode_varint, encode_varint};

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    /// Its number in the `.proto` file.
    pub number: u64,
    pub value: Value,
}

/// What a field holds, as it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(u64),
    /// A string, bytes, or a message.
    Bytes(Vec<u8>),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
}

/// The fields of a message, in their order.
pub(super) fn fields(mut bytes: &[u8]) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = decode_varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(decode_varint(&mut bytes)?),
            1 => Value::Fixed64(take(&mut bytes)?),
            2 => {
                let length = usize::try_from(decode_varint(&mut bytes)?)?;
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

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (value, rest) = bytes.split_first_chunk::<N>().context("a field is cut off")?;
    *bytes = rest;
    Ok(*value)
}

/// The message of these fields.
pub(super) fn message(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        let mut key = |form: u64| encode_varint(field.number << 3 | form, &mut bytes);
        match &field.value {
            Value::Number(number) => {
                key(0);
                encode_varint(*number, &mut bytes);
            }
            Value::Fixed64(value) => {
                key(1);
                bytes.extend(value);
            }
            Value::Bytes(value) => {
                key(2);
                encode_varint(value.len() as u64, &mut bytes);
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
pub(super) fn number(fields: &[Field], number: u64) -> Option<u64> {
    fields.iter().find(|field| field.number == number).and_then(|field| match field.value {
        Value::Number(value) => Some(value),
        _ => None,
    })
}

/// The fields with these numbers in place of what was there.
pub(super) fn with_numbers(fields: &[Field], new: &[(u64, u64)]) -> Vec<Field> {
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
    fn one_number_changes_and_the_rest_stays() {
        let check = |bytes: &[u8], new: &[(u64, u64)], expected: &[u8]| {
            assert_eq!(message(&with_numbers(&fields(bytes).unwrap(), new)), expected);
        };
        check(&[8, 1, 18, 1, b'x', 24, 7], &[(3, 9)], &[8, 1, 18, 1, b'x', 24, 9]);
        check(&[8, 1], &[(2, 300)], &[8, 1, 16, 0xac, 2]);
        check(&[], &[], &[]);
    }
}
