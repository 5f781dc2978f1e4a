//! XML files: a bounded tree (no recursion, no internal DTD, no external entities), and which cart's format it is.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::limits::{MAX_XML_DEPTH, MAX_XML_NODES};
use crate::text;

/// One element: local name, attributes, own text, children.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) children: Vec<usize>,
    pub(crate) at: usize,
}

/// A document as an arena; node 0 is the root element.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    pub(crate) format: Format,
}

/// A node with its tree, for walking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'t> {
    tree: &'t Tree,
    node: &'t Node,
}

impl Tree {
    /// Parses a whole document.
    pub(crate) fn parse(bytes: &[u8], format: Format) -> Result<Self, ReadError> {
        let source = text::document(bytes);
        let mut reader = Reader::from_str(&source);
        let mut builder = Builder { nodes: Vec::new(), open: Vec::new(), format };
        loop {
            let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            match reader.read_event() {
                Ok(Event::Eof) => break,
                Ok(event) => builder.take(event, at)?,
                Err(cause) => return Err(builder.fail(at, cause.to_string())),
            }
        }
        if let Some(open) = builder.open.last() {
            let name = builder.nodes[*open].name.clone();
            return Err(ReadError::new(
                format,
                ErrorKind::Truncated,
                name,
                source.len(),
                "the document ends inside this element",
            ));
        }
        if builder.nodes.is_empty() {
            return Err(builder.fail(0, "the document has no element"));
        }
        Ok(Self { nodes: builder.nodes, format })
    }

    pub(crate) fn root(&self) -> At<'_> {
        At { tree: self, node: &self.nodes[0] }
    }

    pub(crate) fn error(
        &self,
        kind: ErrorKind,
        field: &str,
        at: usize,
        reason: impl Into<String>,
    ) -> ReadError {
        ReadError::new(self.format, kind, field, at, reason)
    }
}

struct Builder {
    nodes: Vec<Node>,
    open: Vec<usize>,
    format: Format,
}

impl Builder {
    fn fail(&self, at: usize, reason: impl Into<String>) -> ReadError {
        ReadError::new(self.format, ErrorKind::Malformed, "XML", at, reason)
    }

    fn take(&mut self, event: Event<'_>, at: usize) -> Result<(), ReadError> {
        match event {
            Event::Start(start) => {
                let index = self.element(&start, at)?;
                self.open.push(index);
                if self.open.len() > MAX_XML_DEPTH {
                    let reason = format!("elements nest deeper than {MAX_XML_DEPTH}");
                    return Err(ReadError::new(self.format, ErrorKind::Limit, "XML", at, reason));
                }
            }
            Event::Empty(start) => {
                self.element(&start, at)?;
            }
            Event::End(_) => {
                self.open.pop();
            }
            Event::Text(run) => self.append(&run.xml10_content()),
            Event::CData(run) => self.append(&run.xml10_content()),
            Event::GeneralRef(entity) => {
                let name = entity.xml10_content().into_owned();
                match entity.resolve_char_ref() {
                    Ok(Some(c)) => self.append(c.encode_utf8(&mut [0; 4])),
                    Ok(None) => match quick_xml::escape::resolve_predefined_entity(&name) {
                        Some(text) => self.append(text),
                        None => return Err(self.fail(at, format!("entity &{name}; is not one of XML's own"))),
                    },
                    Err(cause) => return Err(self.fail(at, cause.to_string())),
                }
            }
            // `<!DOCTYPE RestingECG SYSTEM "restecg.dtd">` is never fetched; an internal subset could define entities.
            Event::DocType(doctype) if doctype.xml10_content().contains('[') => {
                return Err(self.fail(at, "a document type with an internal subset is refused"));
            }
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, run: &str) {
        if let Some(node) = self.open.last().and_then(|i| self.nodes.get_mut(*i)) {
            node.text.push_str(run);
        }
    }

    fn element(&mut self, start: &BytesStart<'_>, at: usize) -> Result<usize, ReadError> {
        if self.nodes.len() >= MAX_XML_NODES {
            let reason = format!("more than {MAX_XML_NODES} elements");
            return Err(ReadError::new(self.format, ErrorKind::Limit, "XML", at, reason));
        }
        if self.open.is_empty() && !self.nodes.is_empty() {
            return Err(self.fail(at, "a second root element"));
        }
        let name = start.local_name().as_ref().to_owned();
        if name.is_empty() {
            return Err(self.fail(at, "an element without a name"));
        }
        let mut node = Node { name, at, ..Node::default() };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|cause| self.fail(at, cause.to_string()))?;
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                .map_err(|cause| self.fail(at, cause.to_string()))?;
            node.attributes.push((attribute.key.local_name().as_ref().to_owned(), value.into_owned()));
        }
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        if let Some(parent) = self.open.last() {
            self.nodes[*parent].children.push(index);
        }
        Ok(index)
    }
}

impl<'t> At<'t> {
    pub(crate) fn name(&self) -> &'t str {
        &self.node.name
    }

    pub(crate) fn at(&self) -> usize {
        self.node.at
    }

    /// Own text, trimmed.
    pub(crate) fn text(&self) -> &'t str {
        self.node.text.trim()
    }

    pub(crate) fn attr(&self, name: &str) -> Option<&'t str> {
        self.node.attributes.iter().find(|(k, _)| k == name).map(|(_, v)| v.trim())
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = At<'t>> + use<'t> {
        let tree = self.tree;
        self.node.children.iter().map(move |i| At { tree, node: &tree.nodes[*i] })
    }

    pub(crate) fn named(&self, name: &'t str) -> impl Iterator<Item = At<'t>> + use<'t> {
        self.children().filter(move |c| c.name() == name)
    }

    pub(crate) fn child(&self, name: &str) -> Option<At<'t>> {
        self.children().find(|c| c.name() == name)
    }

    /// Down a path of child names.
    pub(crate) fn path(&self, names: &[&str]) -> Option<At<'t>> {
        names.iter().try_fold(*self, |node, name| node.child(name))
    }

    /// Non-empty text of a child.
    pub(crate) fn text_of(&self, name: &str) -> Option<&'t str> {
        self.child(name).map(|c| c.text()).filter(|t| !t.is_empty())
    }

    /// A number in a child's text; words such as `Failed` are none.
    pub(crate) fn number_of(&self, name: &str) -> Option<f64> {
        self.text_of(name).and_then(number)
    }

    /// All nodes below, in document order, without recursion.
    pub(crate) fn descendants(&self) -> impl Iterator<Item = At<'t>> + use<'t> {
        let tree = self.tree;
        let mut stack: Vec<usize> = self.node.children.iter().rev().copied().collect();
        std::iter::from_fn(move || {
            let index = stack.pop()?;
            let node = &tree.nodes[index];
            stack.extend(node.children.iter().rev());
            Some(At { tree, node })
        })
    }

    /// First node below with this name.
    pub(crate) fn find(&self, name: &str) -> Option<At<'t>> {
        self.descendants().find(|n| n.name() == name)
    }

    pub(crate) fn malformed(&self, reason: impl Into<String>) -> ReadError {
        self.tree.error(ErrorKind::Malformed, self.name(), self.at(), reason)
    }

    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> ReadError {
        self.tree.error(ErrorKind::Unsupported, self.name(), self.at(), reason)
    }

    pub(crate) fn kind(&self, kind: ErrorKind, reason: impl Into<String>) -> ReadError {
        self.tree.error(kind, self.name(), self.at(), reason)
    }

    /// Checks a sampling rate.
    pub(crate) fn rate(&self, hz: Option<f64>) -> Result<f64, ReadError> {
        use crate::limits::{MAX_RATE_HZ, MIN_RATE_HZ};
        let hz = hz.ok_or_else(|| self.malformed("has no sampling rate"))?;
        if hz.is_finite() && (MIN_RATE_HZ..=MAX_RATE_HZ).contains(&hz) {
            Ok(hz)
        } else {
            Err(self.malformed(format!("{hz} Hz is no sampling rate")))
        }
    }

    /// Little-endian 16-bit samples in base64; line ends inside are skipped.
    pub(crate) fn base64(&self, source: &str) -> Result<Vec<u8>, ReadError> {
        use base64::Engine as _;
        let compact: Vec<u8> = source.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let engine = base64::engine::GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            base64::engine::GeneralPurposeConfig::new()
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true),
        );
        engine.decode(&compact).map_err(|cause| self.malformed(format!("base64: {cause}")))
    }

    /// Numbers separated by white space, commas or semicolons, as whole stored units with their common decimal scale.
    pub(crate) fn digits(&self, source: &str) -> Result<(Vec<i32>, f64), ReadError> {
        if let Some(values) = whole_numbers(source.as_bytes()) {
            return Ok((values, 1.0));
        }
        let mut values: Vec<f64> = Vec::new();
        for token in
            source.split(|c: char| c.is_whitespace() || c == ',' || c == ';').filter(|t| !t.is_empty())
        {
            let value = token.parse::<f64>().ok().filter(|v| v.abs() < f64::from(i32::MAX));
            values.push(value.ok_or_else(|| {
                let shown: String = token.chars().take(20).collect();
                self.malformed(format!("sample {} is '{shown}', not a number", values.len() + 1))
            })?);
        }
        let factor = decimal_factor(&values);
        Ok((values.iter().map(|v| (v * factor).round() as i32).collect(), 1.0 / factor))
    }
}

/// The usual case at the speed of its bytes; `None` when anything else than whole 32-bit numbers stands there.
fn whole_numbers(source: &[u8]) -> Option<Vec<i32>> {
    let mut values = Vec::with_capacity(source.len() / 4);
    let mut at = 0;
    while let Some(byte) = source.get(at) {
        if byte.is_ascii_whitespace() || matches!(byte, b',' | b';') {
            at += 1;
            continue;
        }
        let negative = *byte == b'-';
        at += usize::from(negative || *byte == b'+');
        let (mut value, begin) = (0_i64, at);
        while let Some(digit) = source.get(at).filter(|b| b.is_ascii_digit()) {
            value = value * 10 + i64::from(digit - b'0');
            at += 1;
            // ten digits hold every 32-bit number
            if at - begin > 10 {
                return None;
            }
        }
        let ended = source.get(at).is_none_or(|b| b.is_ascii_whitespace() || matches!(b, b',' | b';'));
        if at == begin || !ended {
            return None;
        }
        values.push(i32::try_from(if negative { -value } else { value }).ok()?);
    }
    Some(values)
}

/// The smallest power of ten that makes all values whole, as far as 32 bits hold them.
fn decimal_factor(values: &[f64]) -> f64 {
    /// A value this near a whole number is one: decimal text in binary.
    const NEAR: f64 = 1e-6;
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let mut factor = 1.0;
    while !values.iter().all(|v| (v * factor - (v * factor).round()).abs() < NEAR) {
        if largest * factor * 10.0 >= f64::from(i32::MAX) || factor >= 1e9 {
            break;
        }
        factor *= 10.0;
    }
    factor
}

/// Little-endian 16-bit samples.
pub(crate) fn samples16(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect()
}

/// A finite number.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|v| v.is_finite())
}

/// The cart format that the root element in the head of a file names.
pub(crate) fn sniff(head: &[u8]) -> Option<Format> {
    let text = text::document(head);
    if !text.trim_start_matches('\u{FEFF}').trim_start().starts_with('<') {
        return None;
    }
    let root = root_name(&text)?;
    let local = root.rsplit(':').next().unwrap_or(root);
    match local {
        "AnnotatedECG" => Some(Format::Aecg),
        "RestingECG" => Some(Format::Muse),
        "restingecgdata" => Some(Format::Sierra),
        "CardiologyXML" => Some(Format::Cardiosoft),
        "ECG" => Some(Format::Mortara),
        "examdescript" => Some(Format::Schiller),
        _ if text.contains("<examdescript") || text.contains("ECG_RHYTHMS") => Some(Format::Schiller),
        _ => None,
    }
}

/// Name of the first element, past declarations, comments and the document type.
fn root_name(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let at = rest.find('<')?;
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = &comment[comment.find("-->")? + 3..];
        } else if !rest.starts_with(['?', '!']) {
            let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))?;
            return Some(&rest[..end]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_document_type_is_refused_and_an_external_one_is_not_fetched() {
        let bomb = b"<!DOCTYPE a [<!ENTITY b \"cc\">]><a>&b;</a>";
        assert!(Tree::parse(bomb, Format::Muse).is_err());
        let named =
            b"<!DOCTYPE RestingECG SYSTEM \"restecg.dtd\"><RestingECG><A>1 &lt; 2&#x41;</A></RestingECG>";
        let tree = Tree::parse(named, Format::Muse).unwrap();
        assert_eq!(tree.root().text_of("A"), Some("1 < 2A"));
    }

    #[test]
    fn deep_nesting_ends_as_an_error() {
        let deep = "<a>".repeat(100_000);
        let error = Tree::parse(deep.as_bytes(), Format::Aecg).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit);
    }

    #[test]
    fn an_element_without_a_name_is_refused_by_place() {
        let error = Tree::parse(b"<a><>x", Format::Aecg).unwrap_err();
        assert_eq!(error.to_string(), "XML@3: an element without a name");
    }

    #[test]
    fn decimals_keep_their_value() {
        let tree = Tree::parse(b"<a/>", Format::Aecg).unwrap();
        assert_eq!(tree.root().digits("1 -2.5,3.25").unwrap(), (vec![100, -250, 325], 0.01));
        assert_eq!(tree.root().digits(" 7 8\n-9 ").unwrap(), (vec![7, 8, -9], 1.0));
        assert_eq!(tree.root().digits("+7;2147483647,-2147483648").unwrap().0, [7, i32::MAX, i32::MIN]);
        // millivolts with six decimals keep their nanovolts
        let (values, scale) = tree.root().digits("0.012345 -0.5 1e-3").unwrap();
        assert_eq!((values, scale), (vec![12_345, -500_000, 1_000], 1e-6));
        assert_eq!(tree.root().digits("").unwrap().0, Vec::<i32>::new());
        assert!(tree.root().digits("99999999999").is_err() && tree.root().digits("1 - 2").is_err());
        assert!(tree.root().digits("1 x").is_err());
    }
}
