//! Links of the JSON dialect: `{"$ref":"$.statsDay"}` stands for the value found at that path.
//!
//! Paths: `$` is the whole text, `.name` a member, `[3]` an element. `@` and `..` name the object itself and its parents.
//! Source: vector `json_ref_example`; fastjson 1.2.

use super::JsonError;
use super::scan::Scanner;

/// Consumes a link at the scanner and gives its path; leaves anything else alone.
pub(super) fn take(scanner: &mut Scanner<'_>) -> Result<Option<String>, JsonError> {
    let mut ahead = scanner.clone();
    if !ahead.take(b'{') || ahead.peek() != Some(b'"') || ahead.string()?.raw != "$ref" {
        return Ok(None);
    }
    if !ahead.take(b':') || ahead.peek() != Some(b'"') {
        return Ok(None);
    }
    let path = ahead.string()?.text()?.into_owned();
    if !ahead.take(b'}') {
        return Ok(None);
    }
    *scanner = ahead;
    Ok(Some(path))
}

/// A scanner at the target of a path. `at` is the place of the link, for errors.
pub(super) fn find<'a>(text: &'a str, path: &str, at: usize) -> Result<Scanner<'a>, JsonError> {
    let broken = || JsonError::new(at, format!("link leads nowhere: {}", shortened(path)));
    let mut rest = path.strip_prefix('$').ok_or_else(broken)?;
    if rest.is_empty() {
        return Err(JsonError::new(at, "link to an enclosing object"));
    }
    let mut target = Scanner::new(text);
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('.') {
            let size = name.find(['.', '[']).unwrap_or(name.len());
            enter_member(&mut target, &name[..size])?.then_some(()).ok_or_else(broken)?;
            rest = &name[size..];
        } else {
            let (index, after) =
                rest.strip_prefix('[').and_then(|inner| inner.split_once(']')).ok_or_else(broken)?;
            let index = index.parse().map_err(|_| broken())?;
            enter_element(&mut target, index)?.then_some(()).ok_or_else(broken)?;
            rest = after;
        }
    }
    // A target that encloses the link would be read without end.
    let mut end = target.clone();
    target.peek();
    end.skip_value()?;
    if target.at <= at && at < end.at {
        return Err(JsonError::new(at, "link to an enclosing object"));
    }
    Ok(target)
}

fn enter_member(target: &mut Scanner<'_>, name: &str) -> Result<bool, JsonError> {
    if !target.take(b'{') {
        return Ok(false);
    }
    let mut first = true;
    while target.next_member(first, b'}')? {
        first = false;
        let found = if target.peek() == Some(b'"') {
            target.string()?.text()? == name
        } else {
            let start = target.at;
            target.skip_value()?;
            &target.text[start..target.at] == name
        };
        target.expect(b':', "`:`")?;
        if found {
            return Ok(true);
        }
        target.skip_value()?;
    }
    Ok(false)
}

fn enter_element(target: &mut Scanner<'_>, index: usize) -> Result<bool, JsonError> {
    if !target.take(b'[') {
        return Ok(false);
    }
    let mut position = 0;
    while target.next_member(position == 0, b']')? {
        if position == index {
            return Ok(true);
        }
        target.skip_value()?;
        position += 1;
    }
    Ok(false)
}

fn shortened(path: &str) -> &str {
    path.char_indices().nth(60).map_or(path, |(end, _)| &path[..end])
}
