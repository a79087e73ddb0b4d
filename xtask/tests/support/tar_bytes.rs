//! Tar archives byte by byte: what no crate agrees to write.

/// One header and its body; every field can be overwritten.
#[derive(Clone)]
pub struct Raw {
    header: [u8; 512],
    body: Vec<u8>,
    sum: bool,
}

impl Raw {
    /// An entry as POSIX wants it.
    pub fn new(name: impl AsRef<[u8]>, kind: u8, body: impl AsRef<[u8]>) -> Raw {
        let (name, body) = (name.as_ref(), body.as_ref());
        let raw = Raw { header: [0; 512], body: body.to_vec(), sum: true };
        let raw = raw.set(0, &name[..name.len().min(100)]).set(100, b"0000644").set(108, b"0000000");
        let raw = raw.set(116, b"0000000").set(124, format!("{:011o}", body.len())).set(136, b"00000000000");
        raw.set(156, [kind]).set(257, b"ustar\x0000")
    }

    /// Overwrites bytes of the header.
    pub fn set(mut self, at: usize, bytes: impl AsRef<[u8]>) -> Raw {
        let bytes = bytes.as_ref();
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// The size that the header claims, as its twelve bytes.
    pub fn size(self, field: impl AsRef<[u8]>) -> Raw {
        self.set(124, [0; 12]).set(124, field)
    }

    /// The target of a link.
    pub fn link(self, target: impl AsRef<[u8]>) -> Raw {
        self.set(157, target)
    }

    /// GNU's own header, which alone holds sparse maps: a hole up to the real size.
    pub fn gnu_sparse(self, real: u64) -> Raw {
        let number = format!("{real:011o}");
        self.set(257, b"ustar  \0").set(386, &number).set(398, b"00000000000").set(483, number)
    }

    /// With a wrong checksum.
    pub fn wrong_sum(mut self) -> Raw {
        self.sum = false;
        self
    }

    /// Header, body and padding.
    pub fn bytes(mut self) -> Vec<u8> {
        self.header[148..156].fill(b' ');
        let sum: u32 = self.header.iter().map(|byte| u32::from(*byte)).sum();
        self.header[148..156].copy_from_slice(format!("{:06o}\0 ", sum + u32::from(!self.sum)).as_bytes());
        let mut bytes = self.header.to_vec();
        bytes.extend(&self.body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// A file.
pub fn file(name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    Raw::new(name, b'0', body).bytes()
}

/// A folder.
pub fn folder(name: impl AsRef<[u8]>) -> Vec<u8> {
    Raw::new(name, b'5', "").bytes()
}

/// A symbolic link.
pub fn symlink(name: &str, target: impl AsRef<[u8]>) -> Vec<u8> {
    Raw::new(name, b'2', "").link(target).bytes()
}

/// PAX records for the entry that follows.
pub fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let digits = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap();
        body.extend(format!("{} {key}=", rest + digits).bytes());
        body.extend(*value);
        body.push(b'\n');
    }
    Raw::new("pax", b'x', body).bytes()
}

/// GNU's long name (`L`) or link target (`K`) of the entry that follows.
pub fn gnu_long(kind: u8, text: &[u8]) -> Vec<u8> {
    Raw::new("././@LongLink", kind, [text, b"\0"].concat()).set(257, b"ustar  \0").bytes()
}

/// The entries and the two empty blocks at the end.
pub fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}
