//! What is kept between blocks.

use super::*;
use crate::store::RewardSum;

#[test]
fn what_a_program_has_spent_is_read_once_and_then_counted() {
    let mut spent = Spent::default();
    assert!(spent.lacks("p"));
    let sum = |program: &str, count, amount_minor| RewardSum {
        program: program.into(),
        rule: RULES[0].into(),
        count,
        amount_minor,
    };
    spent.know(vec!["p".into(), "none".into()], vec![sum("p", 2, 800)]);
    assert!(!spent.lacks("p") && !spent.lacks("none") && spent.lacks("other"));
    let ops = [Op::Stands { qualification: 5, lead: 1, left: 100 }];
    let (lines, _) = play(&ops, &[]);
    let given: i64 = lines.iter().filter(|line| line.rule.0 == RULES[0]).map(|line| line.amount_minor).sum();
    assert!(given > 0);
    spent.apply(&lines);
    let usage = Usage::new(Vec::new(), &spent, &BTreeSet::from(["p".into()]));
    let rule = RewardRule { id: RULES[0].into(), budget_minor: 800 + given, ..RewardRule::default() };
    assert_eq!(usage.refusal("p", &rule, "r", START, 1), Some("budget"));
    let more = RewardRule { budget_minor: 800 + given + 1, ..rule };
    assert_eq!(usage.refusal("p", &more, "r", START, 1), None);
}
