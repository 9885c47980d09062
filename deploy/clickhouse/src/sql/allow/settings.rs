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
}

/// What everybody may set: how results look, how text is read, and tighter bounds.
const EVERYBODY: [&str; 141] = [
    "aggregate_functions_null_for_empty",
    "allow_experimental_analyzer",
    "allow_experimental_dynamic_type",
    "allow_experimental_json_type",
    "allow_experimental_variant_type",
    "allow_suspicious_low_cardinality_types",
    "any_join_distinct_right_table_keys",
    "async_insert",
    "buffer_size",
    "cancel_http_readonly_queries_on_client_close",
    "cast_keep_nullable",
    "cast_string_to_dynamic_use_inference",
    "connect_timeout",
    "convert_query_to_cnf",
    "count_distinct_implementation",
    "data_type_default_nullable",
    "date_time_input_format",
    "date_time_output_format",
    "describe_compact_output",
    "describe_extend_object_types",
    "describe_include_subcolumns",
    "distinct_overflow_mode",
    "enable_analyzer",
    "enable_dynamic_type",
    "enable_http_compression",
    "enable_json_type",
    "enable_optimize_predicate_expression",
    "enable_positional_arguments",
    "enable_variant_type",
    "extremes",
    "final",
    "format_binary_max_string_size",
    "format_csv_allow_double_quotes",
    "format_csv_allow_single_quotes",
    "format_csv_delimiter",
    "format_csv_null_representation",
    "format_tsv_null_representation",
    "group_by_overflow_mode",
    "group_by_use_nulls",
    "http_headers_progress_interval_ms",
    "http_max_field_value_size",
    "http_max_uri_size",
    "http_receive_timeout",
    "http_response_buffer_size",
    "http_response_headers",
    "http_send_timeout",
    "http_wait_end_of_query",
    "http_write_exception_in_output_format",
    "http_zlib_compression_level",
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
    "log_queries",
    "low_cardinality_allow_in_native_format",
    "max_ast_elements",
    "max_block_size",
    "max_bytes_before_external_group_by",
    "max_bytes_before_external_sort",
    "max_bytes_to_read",
    "max_columns_to_read",
    "max_compress_block_size",
    "max_insert_block_size",
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
    "offset",
    "optimize_aggregation_in_order",
    "optimize_move_to_prewhere",
    "optimize_read_in_order",
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
    "output_format_native_write_json_as_string",
    "output_format_parquet_compression_method",
    "output_format_parquet_string_as_string",
    "output_format_pretty_color",
    "output_format_pretty_max_rows",
    "output_format_pretty_max_value_width",
    "output_format_pretty_row_numbers",
    "output_format_write_statistics",
    "prefer_column_name_to_alias",
    "read_overflow_mode",
    "receive_timeout",
    "result_overflow_mode",
    "select_sequential_consistency",
    "send_progress_in_http_headers",
    "send_timeout",
    "session_timezone",
    "sort_overflow_mode",
    "timeout_overflow_mode",
    "transform_null_in",
    "union_default_mode",
    "use_client_time_zone",
    "wait_end_of_query",
    "wait_for_async_insert",
];

/// What everybody may set up to a maximum that is the reader's alone.
const BOUNDED: [&str; 3] = ["max_memory_usage", "max_execution_time", "max_threads"];

/// What the process itself sets besides.
const OWNER: [&str; 25] = [
    "alter_sync",
    "compatibility",
    "deduplicate_blocks_in_dependent_materialized_views",
    "deduplicate_insert",
    "force_primary_key",
    "insert_deduplication_token",
    "insert_quorum",
    "insert_quorum_parallel",
    "insert_quorum_timeout",
    "lightweight_deletes_sync",
    "lock_acquire_timeout",
    "max_expanded_ast_elements",
    "max_insert_threads",
    "max_partitions_per_insert_block",
    "max_query_size",
    "min_insert_block_size_bytes",
    "min_insert_block_size_rows",
    "mutations_sync",
    "optimize_throw_if_noop",
    "parallel_view_processing",
    "priority",
    "query_cache_ttl",
    "throw_on_max_partitions_per_insert_block",
    "use_query_cache",
    "use_uncompressed_cache",
];

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
///
/// # Errors
/// 452 for one that is not taken, or beyond its maximum.
pub fn check_settings(
    settings: &[(String, String)],
    identity: Identity,
    limits: &SettingLimits,
) -> Result<(), Exception> {
    settings.iter().try_for_each(|(name, value)| setting(name, value, identity, limits))
}

fn setting(name: &str, value: &str, identity: Identity, limits: &SettingLimits) -> Result<(), Exception> {
    if name == "readonly" {
        // The server decides it; a client may say what it expects.
        return match value {
            "0" if identity == Identity::Reader => Err(refused("Setting readonly can be 1 or 2")),
            _ => Ok(()),
        };
    }
    if BOUNDED.contains(&name) {
        let most = match (identity, name) {
            (Identity::Owner, _) => return Ok(()),
            (Identity::Reader, "max_memory_usage") => limits.memory_bytes_max,
            (Identity::Reader, "max_execution_time") => limits.seconds_max,
            (Identity::Reader, _) => limits.threads_max,
        };
        // 0 is "no limit" to the engine.
        let is_within = value.parse::<f64>().is_ok_and(|value| value > 0.0 && value <= most as f64);
        return match is_within {
            true => Ok(()),
            false => Err(refused(&format!("Setting {name} can be 1 to {most} here"))),
        };
    }
    let is_own = identity == Identity::Owner && OWNER.contains(&name);
    match is_own || EVERYBODY.contains(&name) {
        true => Ok(()),
        false => Err(refused(&format!("Setting {name} is not served"))),
    }
}

fn refused(message: &str) -> Exception {
    Exception::new(452, "SETTING_CONSTRAINT_VIOLATION", message)
}

/// Checks `SETTINGS name = value, …` and `MODIFY SETTING name = value, …` in a statement's text.
pub(super) fn check(statement: &Tokens<'_>, rules: &Rules<'_>) -> Result<(), Exception> {
    let of_tables = statement.is_any(0, &["CREATE", "ALTER"]);
    for at in 0..statement.len() {
        let begins = statement.is(at, "SETTINGS")
            || (statement.is(at, "SETTING") && at > 0 && statement.is(at - 1, "MODIFY"));
        if !begins || statement.is_qualified(at) {
            continue;
        }
        let mut next = at + 1;
        while statement.name(next).is_some() && statement.punct(next + 1, b'=') {
            let name = String::from_utf8_lossy(statement.name(next).unwrap_or_default()).into_owned();
            let is_of_table = of_tables
                && (TABLES.contains(&name.as_str())
                    || (rules.identity == Identity::Owner && is_of_further_engine(&name, rules)));
            let end = value_end(statement, next + 2);
            if !is_of_table {
                setting(&name, &value(statement, next + 2, end), rules.identity, rules.limits)?;
            }
            if !statement.punct(end, b',') {
                break;
            }
            next = end + 1;
        }
    }
    Ok(())
}

/// `kafka_…` where trials may use `Kafka`.
fn is_of_further_engine(name: &str, rules: &Rules<'_>) -> bool {
    rules.further_engines.iter().any(|engine| name.starts_with(&format!("{}_", engine.to_ascii_lowercase())))
}

/// The token behind a value: a comma, the end of a subquery, or the next clause's word. A number with a
/// point is three tokens.
fn value_end(statement: &Tokens<'_>, value: usize) -> usize {
    let depth = statement.tokens.get(value).map_or(0, |token| token.depth);
    let ends = |at: &usize| {
        let is_outside = statement.depth(*at) < depth;
        let is_next = statement.depth(*at) == depth
            && (statement.punct(*at, b',')
                || statement.word(*at).is_some() && !statement.punct(at - 1, b'.'));
        is_outside || is_next
    };
    (value + 1..statement.len()).find(ends).unwrap_or(statement.len())
}

/// The text of a value, quotes taken off.
fn value(statement: &Tokens<'_>, from: usize, to: usize) -> String {
    let (Some(first), Some(last)) = (statement.tokens.get(from), statement.tokens.get(to.saturating_sub(1)))
    else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&statement.text[first.span.start..last.span.end]);
    match first.kind {
        Kind::Text => text.trim_matches('\'').to_owned(),
        _ => text.into_owned(),
    }
}
