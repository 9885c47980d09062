//! Pairs stored clicks with requests whose click id nobody was told: each request lies within a span of
//! time, each stored click at a point.

use std::{cmp::Reverse, collections::BinaryHeap};

/// A request that may have become a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub from_ms: i64,
    pub to_ms: i64,
    /// It was answered: its click must be there.
    pub is_certain: bool,
}

/// What could not be paired.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unpaired {
    /// Indices of points that no request explains.
    pub points: Vec<usize>,
    /// Indices of spans without their click.
    pub spans: Vec<usize>,
}

/// Pairs as many points as can be: earliest end first, which is optimal for points and intervals. A
/// certain span that went away empty then takes the point of an uncertain one.
pub(super) fn pair(points_ms: &[i64], spans: &[Span]) -> Unpaired {
    let mut points: Vec<usize> = (0..points_ms.len()).collect();
    points.sort_by_key(|point| points_ms[*point]);
    let mut coming: Vec<usize> = (0..spans.len()).collect();
    coming.sort_by_key(|span| Reverse(spans[*span].from_ms));

    let mut open = BinaryHeap::new();
    let mut taken: Vec<Option<usize>> = vec![None; spans.len()];
    let mut unpaired = Unpaired::default();
    for point in points {
        let at_ms = points_ms[point];
        while let Some(span) = coming.pop_if(|span| spans[*span].from_ms <= at_ms) {
            open.push(Reverse((spans[span].to_ms, !spans[span].is_certain, span)));
        }
        while open.peek().is_some_and(|Reverse((to_ms, ..))| *to_ms < at_ms) {
            open.pop();
        }
        match open.pop() {
            Some(Reverse((.., span))) => taken[span] = Some(point),
            None => unpaired.points.push(point),
        }
    }
    prefer_certain(points_ms, spans, &mut taken);
    unpaired.spans = (0..spans.len()).filter(|span| taken[*span].is_none()).collect();
    unpaired
}

fn prefer_certain(points_ms: &[i64], spans: &[Span], taken: &mut [Option<usize>]) {
    for certain in 0..spans.len() {
        let Span { from_ms, to_ms, is_certain } = spans[certain];
        if !is_certain || taken[certain].is_some() {
            continue;
        }
        let giver = (0..spans.len()).find(|other| {
            !spans[*other].is_certain
                && taken[*other].is_some_and(|point| (from_ms..=to_ms).contains(&points_ms[point]))
        });
        if let Some(giver) = giver {
            taken.swap(certain, giver);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certain(from_ms: i64, to_ms: i64) -> Span {
        Span { from_ms, to_ms, is_certain: true }
    }

    fn uncertain(from_ms: i64, to_ms: i64) -> Span {
        Span { is_certain: false, ..certain(from_ms, to_ms) }
    }

    #[test]
    fn points_outside_every_span_are_left_over() {
        assert_eq!(pair(&[5, 20], &[certain(0, 10)]), Unpaired { points: vec![1], spans: vec![] });
        assert_eq!(pair(&[5, 6], &[certain(0, 10)]), Unpaired { points: vec![1], spans: vec![] });
        assert_eq!(pair(&[], &[uncertain(0, 10)]), Unpaired { points: vec![], spans: vec![0] });
    }

    #[test]
    fn a_short_span_is_served_before_a_long_one() {
        assert_eq!(pair(&[2, 8], &[certain(0, 10), uncertain(0, 3)]), Unpaired::default());
    }

    #[test]
    fn what_was_answered_goes_before_what_was_not() {
        let spans = [uncertain(0, 5), certain(0, 10)];
        assert_eq!(pair(&[3], &spans), Unpaired { points: vec![], spans: vec![0] });
    }
}
