//! Settings that a request may bring, in its URL or in the text of a statement.
//!
//! A setting can change what the text says (`dialect`), write files (`output_format_schema`), read them
//! (`format_schema`), or take more than one's share. So each that is taken is named here; the reader's have
//! maxima where they measure time, memory and threads.

use super::{Rules, Tokens};
use crate::engine::Exception;
use crate::rights::Identity;
use crate::sql::tokens::Kind;

/// Maxima of the reader's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingLimits {
    /// Memory of one statement, in bytes.
    pub memory_bytes_max: u64,
    /// Time of one statement, in seconds.
    pub seconds_max: u64,
    /// Threads of one statement.
    pub threads_max: u64,
    /// What one statement may put on the disk while it runs, in bytes.
    pub temporary_bytes_max: u64,
}

/// What everybody may set: how results look, how text is read, and tighter bounds.
///
/// Left out are those that choose other code of the engine's, older or less careful (`enable_analyzer`,
/// `allow_simdjson`), that put a function's name into the text (`count_distinct_implementation`), and the
/// bounds of the parser, for what is too deep or too long for it ends the process.
const EVERYBODY: [&str; 148] = [
    "aggregate_functions_null_for_empty",
    "allow_experimental_dynamic_type",
    "allow_experimental_json_type",
    "allow_experimental_variant_type",
    "allow_suspicious_low_cardinality_types",
    "allow_suspicious_types_in_group_by",
    "allow_suspicious_types_in_order_by",
    "any_join_distinct_right_table_keys",
    "async_insert",
    "cast_keep_nullable",
    "cast_string_to_dynamic_use_inference",
    "connect_timeout",
    "convert_query_to_cnf",
    "data_type_default_nullable",
    "date_time_input_format",
    "date_time_output_format",
    "date_time_overflow_behavior",
    "describe_compact_output",
    "describe_extend_object_types",
    "describe_include_subcolumns",
    "distinct_overflow_mode",
    "distributed_product_mode",
    "do_not_merge_across_partitions_select_final",
    "empty_result_for_aggregation_by_empty_set",
    "enable_dynamic_type",
    "enable_global_with_statement",
    "enable_json_type",
    "enable_optimize_predicate_expression",
    "enable_positional_arguments",
    "enable_time_time64_type",
    "enable_variant_type",
    "exact_rows_before_limit",
    "extremes",
    "final",
    "force_index_by_date",
    "format_binary_max_string_size",
    "format_csv_allow_double_quotes",
    "format_csv_allow_single_quotes",
    "format_csv_delimiter",
    "format_csv_null_representation",
    "format_tsv_null_representation",
    "function_json_value_return_type_allow_complex",
    "group_by_overflow_mode",
    "group_by_use_nulls",
    "idle_connection_timeout",
    "input_format_allow_errors_num",
    "input_format_allow_errors_ratio",
    "input_format_binary_read_json_as_string",
    "input_format_csv_detect_header",
    "input_format_csv_empty_as_default",
    "input_format_csv_skip_first_lines",
    "input_format_defaults_for_omitted_fields",
    "input_format_import_nested_json",
    "input_format_json_read_numbers_as_strings",
    "input_format_native_allow_types_conversion",
    "input_format_null_as_default",
    "input_format_parallel_parsing",
    "input_format_parquet_import_nested",
    "input_format_skip_unknown_fields",
    "input_format_try_infer_dates",
    "input_format_try_infer_datetimes",
    "input_format_try_infer_integers",
    "input_format_tsv_detect_header",
    "input_format_tsv_empty_as_default",
    "input_format_tsv_skip_first_lines",
    "input_format_with_names_use_header",
    "input_format_with_types_use_header",
    "insert_deduplicate",
    "insert_null_as_default",
    "join_algorithm",
    "join_any_take_last_row",
    "join_overflow_mode",
    "join_use_nulls",
    "joined_subquery_requires_alias",
    "limit",
    "load_balancing",
    "log_queries",
    "low_cardinality_allow_in_native_format",
    "max_block_size",
    "max_bytes_before_external_group_by",
    "max_bytes_before_external_sort",
    "max_bytes_in_distinct",
    "max_bytes_in_join",
    "max_bytes_in_set",
    "max_bytes_to_read",
    "max_bytes_to_sort",
    "max_columns_to_read",
    "max_insert_block_size",
    "max_parallel_replicas",
    "max_result_bytes",
    "max_result_rows",
    "max_rows_in_distinct",
    "max_rows_in_join",
    "max_rows_in_set",
    "max_rows_to_group_by",
    "max_rows_to_read",
    "max_rows_to_sort",
    "min_execution_speed",
    "network_compression_method",
    "network_zstd_compression_level",
    "offset",
    "optimize_aggregation_in_order",
    "optimize_move_to_prewhere",
    "optimize_read_in_order",
    "output_format_arrow_compression_method",
    "output_format_arrow_low_cardinality_as_dictionary",
    "output_format_arrow_string_as_string",
    "output_format_binary_write_json_as_string",
    "output_format_csv_crlf_end_of_line",
    "output_format_decimal_trailing_zeros",
    "output_format_json_array_of_rows",
    "output_format_json_escape_forward_slashes",
    "output_format_json_named_tuples_as_objects",
    "output_format_json_quote_64bit_floats",
    "output_format_json_quote_64bit_integers",
    "output_format_json_quote_decimals",
    "output_format_json_quote_denormals",
    "output_format_json_validate_utf8",
    "output_format_native_encode_types_in_binary_format",
    "output_format_native_use_flattened_dynamic_and_json_serialization",
    "output_format_native_write_json_as_string",
    "output_format_parquet_compression_method",
    "output_format_parquet_string_as_string",
    "output_format_pretty_color",
    "output_format_pretty_max_column_pad_width",
    "output_format_pretty_max_rows",
    "output_format_pretty_max_value_width",
    "output_format_pretty_row_numbers",
    "output_format_write_statistics",
    "precise_float_parsing",
    "prefer_column_name_to_alias",
    "prefer_localhost_replica",
    "query_cache_ttl",
    "read_overflow_mode",
    "receive_timeout",
    "result_overflow_mode",
    "select_sequential_consistency",
    "send_timeout",
    "session_timezone",
    "skip_unavailable_shards",
    "sort_overflow_mode",
    "timeout_overflow_mode",
    "transform_null_in",
    "union_default_mode",
    "use_client_time_zone",
    "use_hedged_requests",
    "use_query_cache",
    "wait_for_async_insert",
];

/// What everybody may set up to a maximum that is the reader's alone.
const BOUNDED: [&str; 3] = ["max_memory_usage", "max_execution_time", "max_threads"];

/// What the process itself sets besides.
const OWNER: [&str; 24] = [
    "alter_sync",
    "compatibility",
    "deduplicate_blocks_in_dependent_materialized_views",
    "deduplicate_insert",
    "force_primary_key",
    "insert_deduplication_token",
    "insert_keeper_max_retries",
    "insert_quorum",
    "insert_quorum_parallel",
    "insert_quorum_timeout",
    "lightweight_deletes_sync",
    "lock_acquire_timeout",
    "max_insert_threads",
    "max_partition_size_to_drop",
    "max_partitions_per_insert_block",
    "max_query_size",
    "min_insert_block_size_bytes",
    "min_insert_block_size_rows",
    "mutations_sync",
    "optimize_throw_if_noop",
    "parallel_view_processing",
    "priority",
    "throw_on_max_partitions_per_insert_block",
    "use_uncompressed_cache",
];

/// Settings of tables that everybody may give: the others decide how many files a table has, how much of it is in
/// memory and when what is deleted is gone.
const TABLES_OF_EVERYBODY: [&str; 1] = ["allow_nullable_key"];

/// Settings of tables, in `CREATE TABLE` and `ALTER TABLE … MODIFY SETTING`.
const TABLES: [&str; 15] = [
    "allow_nullable_key",
    "fsync_after_insert",
    "fsync_part_directory",
    "index_granularity",
    "index_granularity_bytes",
    "max_compress_block_size",
    "merge_with_ttl_timeout",
    "min_bytes_for_wide_part",
    "min_compress_block_size",
    "min_rows_for_wide_part",
    "non_replicated_deduplication_window",
    "parts_to_delay_insert",
    "parts_to_throw_insert",
    "primary_key_compress_block_size",
    "ttl_only_drop_parts",
];

/// Checks the settings of a request's URL or form.
/// Above a maximum they are the maximum: clients ask for a little more than their own patience.
///
/// # Errors
/// 452 for one that is not taken, or no number where it has to be one.
pub fn check_settings(
    settings: &mut [(String, String)],
    identity: Identity,
    limits: &SettingLimits,
) -> Result<(), Exception> {
    for (name, value) in settings {
        if let Some(most) = maximum(name, identity, limits) {
            let asked = value.parse::<u64>().map_err(|_| not_whole(name))?;
            // 0 is "no limit" to the engine.
            *value = if asked == 0 { most } else { asked.min(most) }.to_string();
        } else {
            setting(name, value, identity)?;
        }
    }
    Ok(())
}

/// The reader's maximum of a setting that has one.
fn maximum(name: &str, identity: Identity, limits: &SettingLimits) -> Option<u64> {
    match (identity, name) {
        (Identity::Owner, _) => None,
        (Identity::Reader, "max_memory_usage") => Some(limits.memory_bytes_max),
        (Identity::Reader, "max_execution_time") => Some(limits.seconds_max),
        (Identity::Reader, "max_threads") => Some(limits.threads_max),
        (Identity::Reader, _) => None,
    }
}

fn setting(name: &str, value: &str, identity: Identity) -> Result<(), Exception> {
    let is_owner = identity == Identity::Owner;
    if name == "readonly" {
        // A client says what it expects; what it gets is decided by the method and the statement.
        return match value {
            "1" | "2" => Ok(()),
            "0" if is_owner => Ok(()),
            _ => Err(refused("Setting readonly can be 1 or 2")),
        };
    }
    let is_own = is_owner && (OWNER.contains(&name) || BOUNDED.contains(&name));
    match is_own || EVERYBODY.contains(&name) {
        true => Ok(()),
        false => Err(refused(&format!("Setting {name} is not served"))),
    }
}

fn not_whole(name: &str) -> Exception {
    refused(&format!("Setting {name} has to be a whole number"))
}

fn refused(message: &str) -> Exception {
    Exception::new(452, "SETTING_CONSTRAINT_VIOLATION", message)
}

/// Words that may follow the settings of a query, an insert or a table.
const FOLLOWING: [&str; 14] = [
    "AS",
    "COMMENT",
    "EXCEPT",
    "FORMAT",
    "FROM",
    "INTERSECT",
    "ORDER",
    "PARTITION",
    "PRIMARY",
    "SAMPLE",
    "SELECT",
    "TTL",
    "UNION",
    "WITH",
];

/// Checks `SETTINGS name = value, …` and `MODIFY SETTING name = value, …` in a statement's text. What begins
/// like them has to be nothing else: the engine's grammar knows more forms (`name` alone, `==`, maps,
/// expressions), and each of them is a way past a list.
pub(super) fn check(statement: &Tokens<'_>, rules: &Rules<'_>) -> Result<(), Exception> {
    // `CHECK GRANT ALTER MODIFY SETTING ON …` names a right; what follows it is looked at as everywhere.
    let names_a_right = |at: &usize| statement.are(0, &["CHECK", "GRANT"]) && !statement.is(*at, "ON");
    for at in (0..statement.len()).skip_while(names_a_right) {
        let modifies = at > 0 && statement.is_any(at - 1, &["MODIFY", "RESET"]);
        let is_word = statement.is(at, "SETTINGS") || (statement.is(at, "SETTING") && modifies);
        if !is_word || statement.is_qualified(at) || !begins_clause(statement, at) {
            continue;
        }
        if statement.is(at - usize::from(at > 0), "RESET") {
            return Err(refused("RESET SETTING is not served"));
        }
        clause(statement, at + 1, rules)?;
    }
    Ok(())
}

/// Whether a name follows that is not a keyword of a clause: then `settings` is not a column.
fn begins_clause(statement: &Tokens<'_>, at: usize) -> bool {
    const ELSEWHERE: [&str; 22] = [
        "AND", "AS", "ASC", "BETWEEN", "DESC", "ELSE", "END", "FORMAT", "FROM", "GROUP", "HAVING", "IN",
        "IS", "LIKE", "LIMIT", "NOT", "OR", "ORDER", "THEN", "UNION", "WHEN", "WHERE",
    ];
    let operates = statement
        .tokens
        .get(at + 2)
        .is_none_or(|next| matches!(next.kind, Kind::Operator | Kind::Punct(b'=' | b',')));
    // `limit` is a setting, too.
    statement.name(at + 1).is_some() && (operates || !statement.is_any(at + 1, &ELSEWHERE))
}

fn clause(statement: &Tokens<'_>, first: usize, rules: &Rules<'_>) -> Result<(), Exception> {
    let of_tables = statement.is_any(0, &["CREATE", "ALTER"]);
    let unusual = || refused("Settings are written name = value, name = value, with plain values");
    let mut at = first;
    loop {
        let name = statement.name(at).ok_or_else(unusual)?;
        let name = String::from_utf8_lossy(name).into_owned();
        if !statement.punct(at + 1, b'=') {
            return Err(unusual());
        }
        let sign = usize::from(statement.punct(at + 2, b'-') || statement.punct(at + 2, b'+'));
        let token = statement.tokens.get(at + 2 + sign).ok_or_else(unusual)?;
        let spelled = &statement.text[token.span.clone()];
        let value = match token.kind {
            Kind::Number => String::from_utf8_lossy(spelled).into_owned(),
            Kind::Text if sign == 0 => String::from_utf8_lossy(&spelled[1..spelled.len() - 1]).into_owned(),
            Kind::Word
                if sign == 0
                    && [&b"true"[..], b"false"].iter().any(|word| spelled.eq_ignore_ascii_case(word)) =>
            {
                String::from_utf8_lossy(spelled).into_owned()
            }
            _ => return Err(unusual()),
        };
        let is_owners = rules.identity == Identity::Owner
            && (TABLES.contains(&name.as_str()) || is_of_further_engine(&name, rules));
        let is_of_table = of_tables && (is_owners || TABLES_OF_EVERYBODY.contains(&name.as_str()));
        if let Some(most) = maximum(&name, rules.identity, rules.limits) {
            let is_plain =
                value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0') && sign == 0;
            if !is_plain
                || value.parse::<u64>().is_ok_and(|value| value > most)
                || value.parse::<u64>().is_err()
            {
                return Err(refused(&format!("Setting {name} can be 1 to {most} here")));
            }
        } else if !is_of_table {
            setting(&name, &value, rules.identity)?;
        }
        at += 3 + sign;
        if !statement.punct(at, b',') {
            break;
        }
        at += 1;
    }
    let ends = at >= statement.len() || statement.punct(at, b')') || statement.is_any(at, &FOLLOWING);
    if ends { Ok(()) } else { Err(unusual()) }
}

/// `kafka_…` where trials may use `Kafka`, `replicated_…` where they may use `ReplicatedMergeTree`.
fn is_of_further_engine(name: &str, rules: &Rules<'_>) -> bool {
    if rules.replicates() && name.starts_with("replicated_deduplication_window") {
        return true;
    }
    rules.further_engines.iter().any(|engine| name.starts_with(&format!("{}_", engine.to_ascii_lowercase())))
}
