// The keywords, one line each: this file is long because the list is.

package sqlclass

// word identifies a keyword that the classifier asks for.
type word uint8

// wordFlags are what PostgreSQL's kwlist.h says about a keyword.
type wordFlags uint8

const (
	// flagReserved: neither a relation nor a function has this name unquoted.
	flagReserved wordFlags = 1 << iota
	// flagColumn: no function has this name unquoted (col_name_keyword).
	flagColumn
	// flagParen: may stand before a parenthesis without being a call. If the
	// catalogue knows a function of that name, it is taken for a call all the same.
	flagParen
	// flagTime: its value is the time at which the transaction began.
	flagTime
)

const (
	_ word = iota
	wordAbort
	wordAll
	wordAlter
	wordAnalyse
	wordAnalyze
	wordAnd
	wordAs
	wordAtomic
	wordAuthorization
	wordBegin
	wordBy
	wordCall
	wordCase
	wordCast
	wordCatalog
	wordChain
	wordCharacteristics
	wordCheckpoint
	wordClose
	wordCluster
	wordComment
	wordCommit
	wordCommitted
	wordConstraints
	wordContent
	wordCopy
	wordCreate
	wordCursor
	wordDeallocate
	wordDeclare
	wordDefault
	wordDeferrable
	wordDelete
	wordDiscard
	wordDo
	wordDocument
	wordDrop
	wordElse
	wordEnd
	wordExecute
	wordExplain
	wordExtension
	wordFalse
	wordFetch
	wordFor
	wordFrom
	wordFunction
	wordGlobal
	wordGrant
	wordHold
	wordImport
	wordInformationSchema
	wordInsert
	wordInto
	wordIsolation
	wordKey
	wordLanguage
	wordLevel
	wordListen
	wordLoad
	wordLocal
	wordLock
	wordLoop
	wordMerge
	wordMove
	wordNames
	wordNo
	wordNot
	wordNotify
	wordOff
	wordOn
	wordOnly
	wordOperator
	wordOption
	wordOr
	wordPgCatalog
	wordPrepare
	wordPrepared
	wordProcedure
	wordProgram
	wordRead
	wordReassign
	wordRecursive
	wordRefresh
	wordReindex
	wordRelease
	wordRepack
	wordRepeatable
	wordReplace
	wordReset
	wordRevoke
	wordRole
	wordRollback
	wordSavepoint
	wordSchema
	wordSecurity
	wordSelect
	wordSerializable
	wordSession
	wordSet
	wordShare
	wordShow
	wordSnapshot
	wordStart
	wordStdin
	wordStdout
	wordTable
	wordTemp
	wordTemporary
	wordThen
	wordTime
	wordTo
	wordTransaction
	wordTrue
	wordTruncate
	wordUncommitted
	wordUnlisten
	wordUnlogged
	wordUpdate
	wordUsing
	wordVacuum
	wordValues
	wordWait
	wordWhere
	wordWith
	wordWithout
	wordWork
	wordWrite
	wordXml
	wordZone
)

// wordLengths has, for each first letter, a bit for each length that a keyword
// has: most other identifiers need not be looked up.
var wordLengths = func() (t [256]uint32) {
	for w := range words {
		t[w[0]] |= 1 << len(w)
	}
	return t
}()

// words are the keywords that matter. Those of later versions are left out of
// the reserved ones: a word that is missing can only make a verdict more careful.
var words = map[string]struct {
	word  word
	flags wordFlags
}{
	"abort":              {wordAbort, 0},
	"all":                {wordAll, flagReserved},
	"alter":              {wordAlter, 0},
	"analyse":            {wordAnalyse, flagReserved},
	"analyze":            {wordAnalyze, flagReserved},
	"and":                {wordAnd, flagReserved},
	"any":                {0, flagReserved},
	"array":              {0, flagReserved},
	"as":                 {wordAs, flagReserved},
	"asc":                {0, flagReserved},
	"asymmetric":         {0, flagReserved},
	"atomic":             {wordAtomic, 0},
	"authorization":      {wordAuthorization, flagParen},
	"begin":              {wordBegin, 0},
	"between":            {0, flagColumn},
	"bigint":             {0, flagColumn},
	"binary":             {0, flagParen},
	"bit":                {0, flagColumn},
	"boolean":            {0, flagColumn},
	"both":               {0, flagReserved},
	"by":                 {wordBy, flagParen},
	"call":               {wordCall, 0},
	"case":               {wordCase, flagReserved},
	"cast":               {wordCast, flagReserved},
	"catalog":            {wordCatalog, 0},
	"chain":              {wordChain, 0},
	"char":               {0, flagColumn},
	"character":          {0, flagColumn},
	"characteristics":    {wordCharacteristics, 0},
	"check":              {0, flagReserved},
	"checkpoint":         {wordCheckpoint, 0},
	"close":              {wordClose, 0},
	"cluster":            {wordCluster, 0},
	"coalesce":           {0, flagColumn},
	"collate":            {0, flagReserved},
	"collation":          {0, flagParen},
	"column":             {0, flagReserved},
	"columns":            {0, flagParen},
	"comment":            {wordComment, 0},
	"commit":             {wordCommit, 0},
	"committed":          {wordCommitted, 0},
	"concurrently":       {0, flagParen},
	"conditional":        {0, flagParen},
	"conflict":           {0, flagParen},
	"constraint":         {0, flagReserved},
	"constraints":        {wordConstraints, 0},
	"content":            {wordContent, 0},
	"copy":               {wordCopy, 0},
	"create":             {wordCreate, flagReserved},
	"cross":              {0, flagParen},
	"cube":               {0, flagParen},
	"current_catalog":    {0, flagReserved},
	"current_date":       {0, flagReserved | flagTime},
	"current_role":       {0, flagReserved},
	"current_schema":     {0, flagParen},
	"current_time":       {0, flagReserved | flagTime},
	"current_timestamp":  {0, flagReserved | flagTime},
	"current_user":       {0, flagReserved},
	"cursor":             {wordCursor, 0},
	"deallocate":         {wordDeallocate, 0},
	"dec":                {0, flagColumn},
	"decimal":            {0, flagColumn},
	"declare":            {wordDeclare, 0},
	"default":            {wordDefault, flagReserved},
	"deferrable":         {wordDeferrable, flagReserved},
	"delete":             {wordDelete, 0},
	"desc":               {0, flagReserved},
	"discard":            {wordDiscard, 0},
	"distinct":           {0, flagReserved},
	"do":                 {wordDo, flagReserved},
	"document":           {wordDocument, 0},
	"drop":               {wordDrop, 0},
	"else":               {wordElse, flagReserved},
	"end":                {wordEnd, flagReserved},
	"escape":             {0, flagParen},
	"except":             {0, flagReserved},
	"execute":            {wordExecute, 0},
	"exists":             {0, flagColumn},
	"explain":            {wordExplain, 0},
	"extension":          {wordExtension, 0},
	"extract":            {0, flagColumn},
	"false":              {wordFalse, flagReserved},
	"fetch":              {wordFetch, flagReserved},
	"filter":             {0, flagParen},
	"first":              {0, flagParen},
	"float":              {0, flagColumn},
	"for":                {wordFor, flagReserved},
	"foreign":            {0, flagReserved},
	"freeze":             {0, flagParen},
	"from":               {wordFrom, flagReserved},
	"full":               {0, flagParen},
	"function":           {wordFunction, 0},
	"global":             {wordGlobal, 0},
	"grant":              {wordGrant, flagReserved},
	"greatest":           {0, flagColumn},
	"group":              {0, flagReserved},
	"grouping":           {0, flagColumn},
	"groups":             {0, flagParen},
	"having":             {0, flagReserved},
	"hold":               {wordHold, 0},
	"ilike":              {0, flagParen},
	"import":             {wordImport, 0},
	"in":                 {0, flagReserved},
	"information_schema": {wordInformationSchema, 0},
	"initially":          {0, flagReserved},
	"inner":              {0, flagParen},
	"inout":              {0, flagColumn},
	"insert":             {wordInsert, flagParen},
	"int":                {0, flagColumn},
	"integer":            {0, flagColumn},
	"intersect":          {0, flagReserved},
	"interval":           {0, flagColumn},
	"into":               {wordInto, flagReserved},
	"is":                 {0, flagParen},
	"isnull":             {0, flagParen},
	"isolation":          {wordIsolation, 0},
	"join":               {0, flagParen},
	"json":               {0, flagParen},
	"json_array":         {0, flagParen},
	"json_arrayagg":      {0, flagParen},
	"json_exists":        {0, flagParen},
	"json_object":        {0, flagParen},
	"json_objectagg":     {0, flagParen},
	"json_query":         {0, flagParen},
	"json_scalar":        {0, flagParen},
	"json_serialize":     {0, flagParen},
	"json_table":         {0, flagParen},
	"json_value":         {0, flagParen},
	"key":                {wordKey, flagParen},
	"language":           {wordLanguage, 0},
	"lateral":            {0, flagReserved},
	"leading":            {0, flagReserved},
	"least":              {0, flagColumn},
	"left":               {0, flagParen},
	"level":              {wordLevel, 0},
	"like":               {0, flagParen},
	"limit":              {0, flagReserved},
	"loop":               {wordLoop, 0},
	"listen":             {wordListen, 0},
	"load":               {wordLoad, 0},
	"local":              {wordLocal, 0},
	"localtime":          {0, flagReserved | flagTime},
	"localtimestamp":     {0, flagReserved | flagTime},
	"lock":               {wordLock, 0},
	"materialized":       {0, flagParen},
	"merge":              {wordMerge, 0},
	"merge_action":       {0, flagParen},
	"move":               {wordMove, 0},
	"names":              {wordNames, 0},
	"national":           {0, flagColumn},
	"natural":            {0, flagParen},
	"nchar":              {0, flagColumn},
	"nested":             {0, flagParen},
	"next":               {0, flagParen},
	"no":                 {wordNo, 0},
	"none":               {0, flagColumn},
	"normalize":          {0, flagColumn},
	"not":                {wordNot, flagReserved},
	"notify":             {wordNotify, 0},
	"notnull":            {0, flagParen},
	"null":               {0, flagReserved},
	"nullif":             {0, flagColumn},
	"numeric":            {0, flagColumn},
	"off":                {wordOff, 0},
	"offset":             {0, flagReserved},
	"on":                 {wordOn, flagReserved},
	"only":               {wordOnly, flagReserved},
	"operator":           {wordOperator, flagParen},
	"option":             {wordOption, 0},
	"or":                 {wordOr, flagReserved},
	"order":              {0, flagReserved},
	"out":                {0, flagColumn},
	"outer":              {0, flagParen},
	"over":               {0, flagParen},
	"overlaps":           {0, flagParen},
	"overlay":            {0, flagParen},
	"partition":          {0, flagParen},
	"passing":            {0, flagParen},
	"path":               {0, flagParen},
	"pg_catalog":         {wordPgCatalog, 0},
	"placing":            {0, flagReserved},
	"position":           {0, flagColumn},
	"precision":          {0, flagColumn},
	"prepare":            {wordPrepare, 0},
	"prepared":           {wordPrepared, 0},
	"primary":            {0, flagReserved},
	"procedure":          {wordProcedure, 0},
	"program":            {wordProgram, 0},
	"range":              {0, flagParen},
	"read":               {wordRead, 0},
	"real":               {0, flagColumn},
	"reassign":           {wordReassign, 0},
	"recursive":          {wordRecursive, 0},
	"references":         {0, flagReserved},
	"refresh":            {wordRefresh, 0},
	"reindex":            {wordReindex, 0},
	"release":            {wordRelease, 0},
	"repack":             {wordRepack, 0},
	"repeatable":         {wordRepeatable, flagParen},
	"replace":            {wordReplace, 0},
	"reset":              {wordReset, 0},
	"returning":          {0, flagReserved},
	"revoke":             {wordRevoke, 0},
	"right":              {0, flagParen},
	"role":               {wordRole, 0},
	"rollback":           {wordRollback, 0},
	"rollup":             {0, flagParen},
	"row":                {0, flagColumn},
	"rows":               {0, flagParen},
	"savepoint":          {wordSavepoint, 0},
	"schema":             {wordSchema, 0},
	"second":             {0, flagParen},
	"security":           {wordSecurity, 0},
	"select":             {wordSelect, flagReserved},
	"serializable":       {wordSerializable, 0},
	"session":            {wordSession, 0},
	"session_user":       {0, flagReserved},
	"set":                {wordSet, flagParen},
	"setof":              {0, flagColumn},
	"sets":               {0, flagParen},
	"share":              {wordShare, 0},
	"show":               {wordShow, 0},
	"similar":            {0, flagParen},
	"smallint":           {0, flagColumn},
	"snapshot":           {wordSnapshot, 0},
	"some":               {0, flagReserved},
	"start":              {wordStart, 0},
	"stdin":              {wordStdin, 0},
	"stdout":             {wordStdout, 0},
	"substring":          {0, flagParen},
	"symmetric":          {0, flagReserved},
	"table":              {wordTable, flagReserved},
	"tablesample":        {0, flagParen},
	"temp":               {wordTemp, 0},
	"temporary":          {wordTemporary, 0},
	"then":               {wordThen, flagReserved},
	"time":               {wordTime, flagColumn},
	"timestamp":          {0, flagColumn},
	"to":                 {wordTo, flagReserved},
	"trailing":           {0, flagReserved},
	"transaction":        {wordTransaction, 0},
	"trim":               {0, flagColumn},
	"true":               {wordTrue, flagReserved},
	"truncate":           {wordTruncate, 0},
	"uescape":            {0, flagParen},
	"uncommitted":        {wordUncommitted, 0},
	"union":              {0, flagReserved},
	"unique":             {0, flagReserved},
	"unlisten":           {wordUnlisten, 0},
	"unlogged":           {wordUnlogged, 0},
	"update":             {wordUpdate, 0},
	"user":               {0, flagReserved},
	"using":              {wordUsing, flagReserved},
	"vacuum":             {wordVacuum, 0},
	"value":              {0, flagParen},
	"values":             {wordValues, flagColumn},
	"varchar":            {0, flagColumn},
	"variadic":           {0, flagReserved},
	"varying":            {0, flagParen},
	"verbose":            {0, flagParen},
	"wait":               {wordWait, 0},
	"when":               {0, flagReserved},
	"where":              {wordWhere, flagReserved},
	"window":             {0, flagReserved},
	"with":               {wordWith, flagReserved},
	"within":             {0, flagParen},
	"without":            {wordWithout, 0},
	"work":               {wordWork, 0},
	"write":              {wordWrite, 0},
	"xml":                {wordXml, 0},
	"xmlattributes":      {0, flagColumn},
	"xmlconcat":          {0, flagColumn},
	"xmlelement":         {0, flagColumn},
	"xmlexists":          {0, flagColumn},
	"xmlforest":          {0, flagColumn},
	"xmlnamespaces":      {0, flagColumn},
	"xmlparse":           {0, flagColumn},
	"xmlpi":              {0, flagColumn},
	"xmlroot":            {0, flagColumn},
	"xmlserialize":       {0, flagColumn},
	"xmltable":           {0, flagColumn},
	"zone":               {wordZone, flagParen},
}
