//! Passing over values, sequences and nested sequences without a stack.
//!
//! Values of defined length are stepped over whole. What is left are nested items of undefined length, and these
//! alternate strictly (sequence, item, sequence, …): a counter replaces the stack, so depth costs neither memory
//! nor recursion.

use super::AdmitError;
use super::element::{Header, Next, next};
use super::input::Input;
use super::syntax::Coding;
use super::tag::Tag;
use crate::codes::{Code, Refusal};
use std::io::{Read, Seek};

/// Most element headers read from one file: 8 million (64 MB of headers) is far above the largest enhanced
/// multi-frame object and bounds the time a hostile file can take to about a second.
const MAX_ELEMENTS: u64 = 8_000_000;

/// Walks one data set.
#[derive(Debug)]
pub(super) struct Walker {
    pub(super) coding: Coding,
    seen: u64,
}

impl Walker {
    pub(super) const fn new(coding: Coding) -> Self {
        Self { coding, seen: 0 }
    }

    /// The next header at the top level, or inside with `coding`.
    pub(super) fn header<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        coding: Coding,
    ) -> Result<Next, AdmitError> {
        self.seen += 1;
        if self.seen > MAX_ELEMENTS {
            let reason = format!("more than {MAX_ELEMENTS} data elements");
            return Err(Refusal::new(Code::RefusedTooLarge, "data set", reason).into());
        }
        next(input, coding)
    }

    /// Passes over the value of `header`.
    pub(super) fn pass<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        header: &Header,
    ) -> Result<(), AdmitError> {
        match header.length() {
            Some(length) => self.pass_defined(input, header, length, self.coding),
            None => self.pass_undefined(input, header),
        }
    }

    fn pass_defined<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        header: &Header,
        length: u64,
        coding: Coding,
    ) -> Result<(), AdmitError> {
        if length > input.left() {
            return Err(beyond(header.tag, length, input).into());
        }
        if header.is_vr(b"SQ") && length > 0 {
            return self.pass_items(input, header.tag, length, coding);
        }
        if input.skip(length)? { Ok(()) } else { Err(beyond(header.tag, length, input).into()) }
    }

    /// A sequence of defined length: its items must lie inside it. Items of undefined length, and what does not
    /// look like an item, are stepped over with the rest: the sequence's own length is the better authority.
    fn pass_items<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        tag: Tag,
        length: u64,
        coding: Coding,
    ) -> Result<(), AdmitError> {
        let end = input.pos() + length;
        while end.saturating_sub(input.pos()) >= 8 {
            let Next::Element(item) = self.header(input, coding)? else { break };
            let (Tag::ITEM, Some(inner)) = (item.tag, item.length()) else { break };
            if inner > input.left() {
                return Err(beyond_item(tag, inner, input).into());
            }
            let room = end - input.pos();
            if inner > room {
                let reason = format!(
                    "an item of {inner} bytes does not fit into the {room} bytes left of its sequence"
                );
                return Err(Refusal::new(Code::RefusedUnparsable, tag.to_string(), reason).into());
            }
            if !input.skip(inner)? {
                return Err(beyond_item(tag, inner, input).into());
            }
        }
        let rest = end.saturating_sub(input.pos());
        if input.skip(rest)? { Ok(()) } else { Err(beyond(tag, length, input).into()) }
    }

    /// A value of undefined length: items until the sequence delimiter, nested to any depth.
    fn pass_undefined<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        header: &Header,
    ) -> Result<(), AdmitError> {
        let top = header.tag;
        let mut depth: u64 = 1;
        let mut in_item = false;
        // A UN of undefined length holds implicit little endian (PS3.5 §6.2.2 note 2), down to its end.
        let mut implicit_from = header.is_vr(b"UN").then_some(1u64);
        loop {
            let coding = if implicit_from.is_some() { Coding::IMPLICIT } else { self.coding };
            let Next::Element(inner) = self.header(input, coding)? else {
                let reason = "the file ends before the sequence is closed".to_owned();
                return Err(Refusal::new(Code::RefusedUnparsable, top.to_string(), reason).into());
            };
            match (in_item, inner.tag) {
                (false, Tag::ITEM) => match inner.length() {
                    None => in_item = true,
                    Some(length) if input.skip(length)? => {}
                    Some(length) => return Err(beyond_item(top, length, input).into()),
                },
                (true, Tag::ITEM_END) => in_item = false,
                // Inside an item this means that the item delimiter was left out: closed with its sequence.
                (_, Tag::SEQUENCE_END) => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                    implicit_from = implicit_from.filter(|from| *from <= depth);
                    in_item = true;
                }
                (false, tag) | (true, tag @ Tag::ITEM) => {
                    let reason = format!(
                        "{tag} stands where an item or delimiter should be, before byte {}",
                        input.pos()
                    );
                    return Err(Refusal::new(Code::RefusedUnparsable, top.to_string(), reason).into());
                }
                (true, _) => match inner.length() {
                    Some(length) => self.pass_defined(input, &inner, length, coding)?,
                    None => {
                        depth += 1;
                        in_item = false;
                        if inner.is_vr(b"UN") && implicit_from.is_none() {
                            implicit_from = Some(depth);
                        }
                    }
                },
            }
        }
    }
}

/// The refusal of a value that does not end inside the file.
pub(super) fn beyond<R: Read + Seek>(tag: Tag, length: u64, input: &Input<R>) -> Refusal {
    Refusal::new(Code::RefusedLength, tag.to_string(), overrun("the value", length, input))
}

fn beyond_item<R: Read + Seek>(tag: Tag, length: u64, input: &Input<R>) -> Refusal {
    Refusal::new(Code::RefusedLength, tag.to_string(), overrun("an item", length, input))
}

fn overrun<R: Read + Seek>(what: &str, length: u64, input: &Input<R>) -> String {
    if input.inflates() {
        return format!("{what} claims {length} bytes, more than the inflated data set holds");
    }
    format!("{what} claims {length} bytes, but {} are left in the file", input.left())
}
