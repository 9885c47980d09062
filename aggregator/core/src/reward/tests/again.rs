//! What was taken back and is given again.

use super::*;

/// What stands open of a lead's reward by the rule of this place.
fn open(ops: &[Op], lead: u8, rule: usize) -> i64 {
    let wanted = reward_id("p", id(lead), RULES[rule]);
    let of = |cuts: &[bool]| -> i64 {
        let (lines, _) = play(ops, cuts);
        let open = lines.iter().filter(|line| line.reward_id == wanted && line.state.is_open());
        open.map(|line| i64::from(line.sign) * line.amount_minor).sum()
    };
    let (whole, cut) = (of(&[]), of(&vec![true; ops.len()]));
    assert_eq!(whole, cut, "blocks change nothing: {ops:?}");
    whole
}

fn stands(qualification: u8, lead: u8, left: i64) -> Op {
    Op::Stands { qualification, lead, left }
}

#[test]
fn what_was_taken_is_what_is_given_whatever_the_referrers_tier_is_by_then() {
    let first = [stands(1, 1, 100), Op::Gone { qualification: 1 }];
    assert_eq!(open(&first, 1, 0), 0);
    // Another lead of the referrer has the first tier meanwhile.
    let others = [&first[..], &[stands(2, 3, 100)]].concat();
    assert_eq!(open(&others, 3, 0), 500);
    let again = [&others[..], &[stands(1, 1, 100)]].concat();
    assert_eq!(open(&again, 1, 0), 500, "the second tier would be 900");
}

#[test]
fn what_another_qualification_would_have_earned_stays_as_it_is() {
    let ops = [stands(1, 1, 100), Op::Gone { qualification: 1 }, stands(2, 1, 100)];
    assert_eq!(open(&ops, 1, 0), 0, "a lead earns a rule once");
}

#[test]
fn a_part_is_given_again_where_the_budget_has_room_for_it() {
    let part = [stands(7, 1, 100), stands(7, 1, 50)];
    let (whole, half) = (open(&part[..1], 1, 1), open(&part, 1, 1));
    assert!(half > 0 && half < whole, "{half} of {whole}");
    let again = stands(7, 1, 100);
    assert_eq!(open(&[&part[..], &[again]].concat(), 1, 1), whole);
    // Others have used what the refund had made free.
    let others = [stands(6, 3, 100), stands(5, 5, 100), stands(4, 2, 100), stands(3, 4, 100), again];
    assert_eq!(open(&[&part[..], &others].concat(), 1, 1), half);
}

#[test]
fn what_a_refund_left_less_than_a_minor_unit_of_is_given_again_with_the_rest() {
    // 1077 paid: a hundredth of a reward of one minor unit is nothing.
    let (paid, almost_all) = (stands(1, 1, 100), stands(1, 1, 1));
    assert_eq!(open(&[paid], 1, 2), 1);
    assert_eq!(open(&[paid, almost_all], 1, 2), 0);
    assert_eq!(open(&[paid, almost_all, paid], 1, 2), 1, "in whatever order they come");
    assert_eq!(open(&[paid, Op::Gone { qualification: 1 }, almost_all, paid], 1, 2), 1);
    let (lines, _) = play(&[paid, almost_all, almost_all, almost_all], &[]);
    assert_eq!(lines.iter().filter(|line| line.rule.0 == RULES[2]).count(), 3, "earned, and taken back once");
    // Of what was paid out and clawed back people decide.
    let due = Op::Due { lead: 1, rule: 2, days: 60 };
    let issue = Op::Decision { lead: 1, rule: 2, decision: "issue", reference: "pay-1" };
    assert_eq!(open(&[paid, due, issue, almost_all, paid], 1, 2), 0);
}
