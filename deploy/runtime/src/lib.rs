//! What every process needs: settings, telemetry, health, shutdown.
