//! What comes at once or the wrong way round.

use super::*;

fn terms_of_all() -> HashMap<(String, EventId), Terms> {
    (0..8).map(|number| (("p".to_owned(), id(number + 100)), terms())).collect()
}

fn stands<'a>(now: Option<&'a QualificationRow>, earning: &'a QualificationRow) -> QualificationChange<'a> {
    QualificationChange {
        program: "p",
        id: earning.id,
        now,
        earning: Some(earning),
        signals: Signals::default(),
    }
}

#[test]
fn of_what_moves_at_once_the_earliest_earns_in_whatever_order_it_is_told() {
    let partition = Partition { stream: Stream::Conversions, number: 0 };
    let range = BlockRange { incarnation: Incarnation(Uuid::nil()), partition, first: 0, end: 1 };
    let cause = |offset| Cause { range: &range, offset, event: id(200), received_at: START };
    let rows = |lead| [row(4, lead, 100), row(5, lead, 100)];
    let (before, after) = (rows(1), rows(3));
    let moved = |order: [usize; 2]| {
        let mut book = Book::new(Vec::new(), Usage::default()).with_terms(terms_of_all());
        before
            .iter()
            .zip(0..)
            .for_each(|(row, at)| book.qualifications(vec![stands(Some(row), row)], cause(at)));
        let told = order.map(|at| stands(Some(&after[at]), &after[at]));
        book.qualifications(told.into(), cause(2));
        book.into_lines()
    };
    let lines = moved([0, 1]);
    assert_eq!(lines, moved([1, 0]));
    let earned = |lead| lines.iter().find(|line| line.lead_id == id(lead) && line.sign == 1).unwrap();
    assert_eq!((earned(1).qualification_id, earned(3).qualification_id), (after[0].id, after[0].id));
}

#[test]
fn what_was_refunded_before_it_came_ends_like_what_is_refunded_afterwards() {
    let partition = Partition { stream: Stream::Conversions, number: 0 };
    let range = BlockRange { incarnation: Incarnation(Uuid::nil()), partition, first: 0, end: 1 };
    let cause = |offset| Cause { range: &range, offset, event: id(200), received_at: START };
    let (first, second) = (row(4, 1, 100), row(5, 1, 100));
    let ends = |changes: [Vec<QualificationChange<'_>>; 3]| {
        let mut book = Book::new(Vec::new(), Usage::default()).with_terms(terms_of_all());
        changes.into_iter().zip(0..).for_each(|(change, at)| book.qualifications(change, cause(at)));
        let reward = reward_id("p", id(1), RULES[0]);
        let lines = book.into_lines();
        let sum = |line: &RewardRow| i64::from(line.sign) * line.amount_minor;
        let mut states: BTreeMap<_, i64> = BTreeMap::new();
        let of_reward = lines.iter().filter(|line| line.reward_id == reward);
        of_reward.for_each(|line| *states.entry(line.state.word()).or_default() += sum(line));
        states
    };
    let gone = || vec![QualificationChange { earning: None, ..stands(None, &first) }];
    let afterwards = ends([vec![stands(Some(&first), &first)], gone(), vec![stands(Some(&second), &second)]]);
    let before = ends([gone(), vec![stands(None, &first)], vec![stands(Some(&second), &second)]]);
    assert_eq!(before, afterwards);
    assert_eq!(before["accrued"], 0);
    assert!(before["rejected"] > 0);
}
