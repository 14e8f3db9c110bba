-- SPDX-License-Identifier: GPL-3.0-or-later
-- What Lua sees of C: the names that modules rely on, and those which must stay theirs to declare.
local ffi = require('ffi')

local types = [[time_t; struct timeval; struct sockaddr; struct knot_error; knot_dump_style_t; knot_section_t;
knot_rrinfo_t; knot_dname_t; knot_dname_storage_t; knot_rdata_t; knot_rdataset_t; knot_mm_t; knot_rrset_t;
knot_pkt_t; knot_pktsection_t; knot_compr_t; knot_edns_options_t *; trie_t *; struct kr_qflags;
ranked_rr_array_entry_t; ranked_rr_array_t; kr_http_header_array_entry_t; kr_http_header_array_t;
kr_sockaddr_array_t; struct kr_zonecut; kr_qarray_t; struct kr_rplan; struct kr_request_qsource_flags;
struct kr_extended_error; struct kr_request; enum kr_rank; kr_cdb_pt; struct kr_cdb_stats;
struct kr_cdb_api *; struct lru *; uv_timer_t *; uv_loop_t *; struct kr_cache; kr_layer_t; kr_layer_api_t;
struct kr_prop; struct kr_module; struct kr_server_selection; kr_log_level_t; enum kr_log_group;
struct kr_query; struct kr_context; struct kr_transport; endpoint_flags_t; struct endpoint; addr_array_t;
flagged_fd_t; flagged_fd_array_t; config_array_t; struct args; zi_config_t; struct net_tcp_param;
struct network; tls_client_params_t *; struct tls_credentials *; struct engine; struct worker_ctx;
struct qr_task *; zs_scanner_t; trace_log_f; trace_callback_f; alloc_wire_f; addr_info_f; zi_callback;
kr_stale_cb; kr_prop_cb *]]

local functions = [[malloc free inet_pton gettimeofday
knot_strerror knot_dname_copy knot_dname_from_str knot_dname_in_bailiwick knot_dname_is_equal
knot_dname_labels knot_dname_size knot_dname_to_lower knot_dname_to_str knot_rdataset_at
knot_rdataset_merge knot_rrset_add_rdata knot_rrset_free knot_rrset_txt_dump knot_rrset_txt_dump_data
knot_rrset_size knot_pkt_begin knot_pkt_put_question knot_pkt_put_rotate knot_pkt_new knot_pkt_free
knot_pkt_parse kr_request_ensure_edns kr_request_ensure_answer kr_request_set_extended_error
kr_resolve_plan kr_resolve_pool kr_rplan_push kr_rplan_pop kr_rplan_resolved kr_rplan_last
kr_forward_add_target kr_make_query kr_qflags_set kr_qflags_clear kr_rank_test kr_ranked_rrarray_add
kr_ranked_rrarray_finalize kr_log_is_debug_fun kr_log_req1 kr_log_q1 kr_log_grp2name kr_log_fmt
kr_pkt_make_auth_header kr_pkt_put kr_pkt_recycle kr_pkt_clear_payload kr_pkt_has_wire
kr_pkt_has_dnssec kr_pkt_qclass kr_pkt_qtype kr_pkt_text packet_ttl kr_rrset_init
kr_rrsig_sig_inception kr_rrsig_sig_expiration kr_rrsig_type_covered kr_inaddr kr_inaddr_family
kr_inaddr_len kr_inaddr_str kr_inaddr_port kr_sockaddr_cmp kr_sockaddr_len kr_straddr_family
kr_straddr_subnet kr_straddr_socket kr_straddr_split kr_bitcmp kr_family_len kr_rnd_buffered kr_now
kr_strptime_diff kr_file_mtime kr_fssize kr_dirent_name mm_realloc lru_create_impl lru_get_impl
lru_free_items_impl kr_zonecut_add kr_zonecut_is_empty kr_zonecut_set kr_ta_get kr_ta_add kr_ta_del
kr_ta_clear kr_dnssec_key_ksk kr_dnssec_key_revoked kr_dnssec_key_tag kr_dnssec_key_match
kr_cache_closest_apex kr_cache_insert_rr kr_cache_remove kr_cache_remove_subtree kr_cache_commit
worker_resolve_exec worker_resolve_mk_pkt worker_resolve_start zi_zone_import
the_worker the_args kr_layer_t_static kr_dbg_assertion_abort kr_dbg_assertion_fork KR_DUMP_STYLE_DEFAULT]]

local members = {
	['struct kr_request'] = 'ctx answer current_query qsource upstream options state answ_selected auth_selected '
		.. 'add_selected answ_validated auth_validated rank rplan trace_log trace_finish vars_ref pool uid '
		.. 'selection_context count_no_nsaddr count_fail_row alloc_wire_cb extended_error',
	['struct kr_query'] = 'parent cname_parent sname stype sclass id reorder flags forward_flags secret uid '
		.. 'vld_limit_crypto_remains vld_limit_uid creation_time_mono timestamp_mono timestamp zone_cut '
		.. 'deferred cname_depth request stale_cb server_selection',
	['struct kr_rplan'] = 'pending resolved initial request pool next_uid',
	['struct kr_zonecut'] = 'name key trust_anchor parent nsset pool',
	['knot_pkt_t'] = 'wire size max_size parsed reserved qname_size rrset_count flags opt_rr tsig_rr edns_opts '
		.. 'current sections rr mm compr',
	['knot_rrset_t'] = '_owner _ttl type rclass rrs additional',
	['ranked_rr_array_entry_t'] = 'qry_uid rank revalidation_cnt rr',
	['struct kr_context'] = 'options downstream_opt_rr upstream_opt_rr trust_anchors negative_anchors '
		.. 'vld_limit_crypto root_hints cache cache_rtt_tout_retry_interval',
	['struct kr_cache'] = 'stats ttl_min ttl_max checkpoint_walltime checkpoint_monotime db api',
	['struct engine'] = 'net resolver',
	['struct network'] = 'tcp tcp_backlog listen_udp_buflens listen_tcp_buflens',
	['zs_scanner_t'] = 'r_owner r_owner_length r_ttl r_class r_type r_data r_data_length zone_origin '
		.. 'zone_origin_length line_counter state error',
}

test('types are declared', function ()
	for name in (types .. ';'):gmatch('%s*([^;]+);') do
		check(pcall(ffi.typeof, name), name)
	end
end)

test('functions and variables are there', function ()
	for name in functions:gmatch('%S+') do
		local is_good, err = pcall(function () return ffi.C[name] end)
		check(is_good, err)
	end
end)

test('structs have the members that modules use', function ()
	for ctype, list in pairs(members) do
		for name in list:gmatch('%S+') do
			check(ffi.offsetof(ctype, name), ctype .. '.' .. name)
		end
	end
	local entry = ffi.new('ranked_rr_array_entry_t')
	for name in ('cached yielded to_wire expiring in_progress dont_cache'):gmatch('%S+') do
		same(entry[name], false, name)
	end
	local flags = ffi.new('struct kr_request_qsource_flags')
	same({ flags.tcp, flags.tls, flags.http, flags.xdp }, { false, false, false, false })
end)

test('names of modules stay undeclared', function ()
	ffi.cdef([[
		typedef uint16_t sa_family_t;
		typedef uint32_t socklen_t;
		struct in_addr { uint32_t s_addr; };
		struct in6_addr { uint8_t s6_addr[16]; };
		struct sockaddr_in { sa_family_t sin_family; uint16_t sin_port; struct in_addr sin_addr; };
		struct sockaddr_in6 { sa_family_t sin6_family; uint16_t sin6_port; struct in6_addr sin6_addr; };
		struct sockaddr_storage { sa_family_t ss_family; char data[126]; };
		struct sockaddr_un { sa_family_t sun_family; char sun_path[108]; };
		struct timezone { int tz_minuteswest; int tz_dsttime; };
		union kr_sockaddr { struct sockaddr_in ip4; struct sockaddr_in6 ip6; };
		struct tcp_info { uint8_t tcpi_state; };
		int getsockopt(int, int, int, void *, socklen_t *);
		void free(void *ptr);
	]])
end)

test('enumerators', function ()
	local C = ffi.C
	same(C.KR_RANK_SECURE + C.KR_RANK_AUTH, 48)
	same({ C.KNOT_ANSWER + 0, C.KNOT_ADDITIONAL + 0 }, { 0, 2 })
	same({ C.ZI_STAMP_NOW + 0, C.ZI_STAMP_MTIM + 0 }, { 0, 1 })
	check(C.ZS_STATE_DATA)
	local names = 'SYSTEM CACHE IO NETWORK TA TLS GNUTLS TLSCLIENT XDP DOH DNSSEC HINT PLAN ITERATOR VALIDATOR '
		.. 'RESOLVER SELECTION ZCUT COOKIES STATISTICS REBIND WORKER POLICY TASENTINEL TASIGNALING TAUPDATE '
		.. 'DAF DETECTTIMEJUMP DETECTTIMESKEW GRAPHITE PREFILL PRIMING SRVSTALE WATCHDOG NSID DNSTAP TESTS '
		.. 'DOTAUTH HTTP CONTROL MODULE DEVEL RENUMBER EDE REQDBG'
	local number = 0
	for name in names:gmatch('%S+') do
		number = number + 1
		same(tonumber(ffi.cast('int', C['LOG_GRP_' .. name])), number, name)
	end
	same(tonumber(ffi.cast('int', C.LOG_GRP_UNKNOWN)), -1)
end)

test('libknot by its name', function ()
	local knot = ffi.load(libknot_SONAME)
	same(ffi.string(knot.knot_strerror(-22)), ffi.string(ffi.C.knot_strerror(-22)))
end)
