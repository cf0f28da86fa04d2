"""Flags of the server; on the command line they are read and change nothing, so that one `.args` serves both."""

from __future__ import annotations

from llamafile.flags.row import CHOICE, FLOAT, INT, LIST, PATH, SWITCH, TEXT, Flag, later, without_effect

GROUP = "Server"


def _setting(names: str, kind: str, help: str, *, env: str = "", off: str = "", metavar: str = "") -> Flag:
    return without_effect(names, kind, None, help, env=env, off=off, metavar=metavar)


FLAGS = (
    Flag("--host", "host", TEXT, "127.0.0.1", "Address to listen on; a path that ends in .sock is a Unix socket.",
         env="LLAMA_ARG_HOST", metavar="ADDRESS"),
    Flag("--port", "port", INT, 8080, "Port to listen on; one that is taken makes way for the next, up to ten further; "
         "0 takes any.", low=0, high=65535, env="LLAMA_ARG_PORT"),
    Flag("--listen", "listen", TEXT, None, "Address and port to listen on.", metavar="HOST:PORT"),
    Flag("--reuse-port", "reuse_port", SWITCH, False, "Let several servers share the port.",
         env="LLAMA_ARG_REUSE_PORT"),
    Flag("--path", "static_path", TEXT, None, "Serve the files of this folder instead of the page.",
         env="LLAMA_ARG_STATIC_PATH", metavar="FOLDER"),
    Flag("--url-prefix --api-prefix", "api_prefix", TEXT, "", "Prefix of all paths.", env="LLAMA_ARG_API_PREFIX",
         metavar="PREFIX"),
    Flag("--nobrowser", "nobrowser", SWITCH, False, "Do not open the page in a browser; it is only opened for somebody "
         "at a terminal with a display."),
    Flag("-to --timeout", "timeout", INT, 600, "Seconds that a client may be silent in the middle of a request, or "
         "leave an answer unread.", low=1, high=86400, env="LLAMA_ARG_TIMEOUT"),
    Flag("--drain-seconds", "drain_seconds", INT, 30, "Seconds that answers may go on after Ctrl-C or SIGTERM.", low=0,
         high=86400, env="LLAMA_ARG_DRAIN_SECONDS"),
    Flag("-np --parallel", "n_parallel", INT, -1, "Requests answered at the same time; -1 lets the server choose.",
         low=-1, high=256, words=(("auto", -1),), env="LLAMA_ARG_N_PARALLEL"),
    _setting("-ns --sequences", INT, "Sequences to decode."),
    _setting("-cb --cont-batching", SWITCH, "Batch all clients together; they always are.",
             off="-nocb --no-cont-batching", env="LLAMA_ARG_CONT_BATCHING"),
    Flag("-a --alias", "alias", TEXT, None, "Name of the model for clients; several are separated by commas.",
         env="LLAMA_ARG_ALIAS", metavar="NAME"),
    Flag("--tags", "tags", TEXT, "", "Tags of the model, separated by commas, for /v1/models.", env="LLAMA_ARG_TAGS"),
    Flag("--api-key", "api_key", LIST, (), "Key that clients must send; several are separated by commas.",
         env="LLAMA_API_KEY", metavar="KEY"),
    Flag("--api-key-file", "api_key_file", PATH, None, "File with keys, one a line.", env="LLAMA_ARG_API_KEY_FILE"),
    Flag("--ssl-key-file", "ssl_key_file", PATH, None, "Private key for TLS, as PEM.", env="LLAMA_ARG_SSL_KEY_FILE"),
    Flag("--ssl-cert-file", "ssl_cert_file", PATH, None, "Certificate for TLS, as PEM.",
         env="LLAMA_ARG_SSL_CERT_FILE"),
    Flag("--cors-origins", "cors_origins", TEXT, None, "Origins, separated by commas, whose pages may use the server; "
         "* is all. By default pages of this machine may where only this machine is listened to.",
         env="LLAMA_ARG_CORS_ORIGINS"),
    Flag("--cors-methods", "cors_methods", TEXT, "GET, POST, OPTIONS", "Methods that those pages may use.",
         env="LLAMA_ARG_CORS_METHODS"),
    Flag("--cors-headers", "cors_headers", TEXT, None, "Headers that those pages may send; by default any.",
         env="LLAMA_ARG_CORS_HEADERS"),
    Flag("--cors-credentials", "cors_credentials", SWITCH, False, "Let those pages send cookies and the like.",
         off="--no-cors-credentials", env="LLAMA_ARG_CORS_CREDENTIALS"),
    _setting("--threads-http", INT, "Threads for requests; one serves all.", env="LLAMA_ARG_THREADS_HTTP"),
    Flag("--sse-ping-interval", "sse_ping_interval", INT, 30, "Seconds of silence after which a stream shows a sign of "
         "life; -1 is never.", low=-1, high=86400, env="LLAMA_ARG_SSE_PING_INTERVAL"),
    Flag("--metrics", "metrics", SWITCH, False, "Serve /metrics.", env="LLAMA_ARG_ENDPOINT_METRICS"),
    Flag("--props", "props", SWITCH, False, "Let POST /props change what requests do not say.",
         env="LLAMA_ARG_ENDPOINT_PROPS"),
    Flag("--slots", "slots", SWITCH, True, "Serve /slots.", off="--no-slots --slots-endpoint-disable",
         env="LLAMA_ARG_ENDPOINT_SLOTS"),
    Flag("--slot-save-path", "slot_save_path", TEXT, None, "Folder where /slots saves slots.",
         env="LLAMA_ARG_SLOT_SAVE_PATH", metavar="FOLDER"),
    _setting("-sps --slot-prompt-similarity", FLOAT, "How alike prompts share a slot; what is alike is always shared."),
    Flag("--cache-prompt", "cache_prompt", SWITCH, True, "Reuse the common beginning of prompts.",
         off="--no-cache-prompt", env="LLAMA_ARG_CACHE_PROMPT"),
    _setting("--cache-reuse", INT, "Smallest piece to reuse by shifting.", env="LLAMA_ARG_CACHE_REUSE"),
    _setting("-cram --cache-ram", INT, "Memory for cached prompts, in MiB.", env="LLAMA_ARG_CACHE_RAM"),
    _setting("-ctxcp --ctx-checkpoints --swa-checkpoints", INT, "Checkpoints of a slot.",
             env="LLAMA_ARG_CTX_CHECKPOINTS"),
    _setting("-cms --checkpoint-min-step", INT, "Tokens between checkpoints.",
             env="LLAMA_ARG_CHECKPOINT_MIN_SPACING_NT"),
    Flag("-kvu --kv-unified", "kv_unified", SWITCH, True, "One cache for all slots, so that each may use all of it.",
         off="-no-kvu --no-kv-unified", env="LLAMA_ARG_KV_UNIFIED"),
    _setting("--kv-unified-per-slot", INT, "Context of a slot in it.", env="LLAMA_ARG_KV_UNIFIED_PER_SLOT"),
    _setting("--cache-idle-slots", SWITCH, "Keep idle slots in memory.", off="--no-cache-idle-slots",
             env="LLAMA_ARG_CACHE_IDLE_SLOTS"),
    Flag("--ui --webui", "ui", SWITCH, True, "Serve the web page.", off="--no-ui --no-webui", env="LLAMA_ARG_UI"),
    _setting("--ui-config --webui-config", TEXT, "Settings of the web page.", env="LLAMA_ARG_UI_CONFIG",
             metavar="JSON"),
    _setting("--ui-config-file --webui-config-file", PATH, "File with those settings.",
             env="LLAMA_ARG_UI_CONFIG_FILE"),
    _setting("--media-path", TEXT, "Folder of media that clients may name.", metavar="FOLDER"),
    _setting("--log-prompts-dir", TEXT, "Folder for the prompts received.", metavar="FOLDER"),
    _setting("--sleep-idle-seconds", INT, "Seconds until an idle model is put away."),
    Flag("--spm-infill", "spm_infill", SWITCH, False, "Put the suffix of an infill before the prefix."),
    Flag("--embd-normalize", "embd_normalize", INT, 2, "Norm of embeddings: -1 none, 0 the largest becomes 32760, "
         "2 Euclidean, else that p-norm.", low=-1, high=100),
    Flag("--pooling", "pooling", CHOICE, None, "How the rows of a text become its embedding; else the model's own.",
         choices=("none", "mean", "cls", "last", "rank"), env="LLAMA_ARG_POOLING"),
    _setting("--embedding --embeddings", SWITCH, "Compute embeddings; the server always can.",
             env="LLAMA_ARG_EMBEDDINGS"),
    later("--rerank --reranking", SWITCH, "Rank documents.", env="LLAMA_ARG_RERANKING"),
    later("--tools", TEXT, "Tools that the model may use.", metavar="NAMES", env="LLAMA_ARG_TOOLS"),
    later("--tools-runtime", TEXT, "Where tools run.", env="LLAMA_ARG_TOOLS_RUNTIME"),
    later("-ag --agent", SWITCH, "All tools.", off="-no-ag --no-agent", env="LLAMA_ARG_AGENT"),
    later("--ui-mcp-proxy --webui-mcp-proxy", SWITCH, "Pass the web page's tool calls on.",
          off="--no-ui-mcp-proxy --no-webui-mcp-proxy", env="LLAMA_ARG_UI_MCP_PROXY"),
    later("--mcp-servers-config", PATH, "File with tool servers.", env="LLAMA_ARG_MCP_SERVERS_CONFIG"),
    later("--mcp-servers-json", TEXT, "Tool servers.", metavar="JSON", env="LLAMA_ARG_MCP_SERVERS_JSON"),
    later("--models-dir", TEXT, "Folder of models to choose from.", metavar="FOLDER", env="LLAMA_ARG_MODELS_DIR"),
    later("--models-preset", PATH, "File with presets of models.", env="LLAMA_ARG_MODELS_PRESET"),
    later("--models-max", INT, "Models in memory at the same time.", env="LLAMA_ARG_MODELS_MAX"),
    later("--models-autoload", SWITCH, "Load models when asked for.", off="--no-models-autoload",
          env="LLAMA_ARG_MODELS_AUTOLOAD"),
    later("--server-base", TEXT, "Server to chat with.", metavar="URL"),
)
