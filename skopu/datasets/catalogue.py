"""What is known of each data set: size, names, source, checksum of its file, caution."""

from dataclasses import dataclass
from itertools import product
from string import ascii_uppercase

REGRESSION, CLASSIFICATION = "regression", "classification"


@dataclass(frozen=True)
class OpenMLSource:
    """Where a data set is on OpenML.

    Attributes
    ----------
    data_id : int
    target : str or None
        Column of the target; None: the one that OpenML names.
    labels : tuple of str or None
        OpenML's labels in the order of the classes; None: sorted.
    """

    data_id: int
    target: str | None = None
    labels: tuple | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes
    ----------
    title, task, target : str
        ``target`` names the column of the target.
    shape : tuple (n_samples, n_features)
    source : str
        Where it was published.
    features : str
        Names of the columns, with blanks between; empty: x0, x1, ...
    classes : tuple of str
        Labels, in the order of their numbers; empty for regression.
    sha256 : str or None
        Of the file that the documentation's figures were made with.
    openml : OpenMLSource or None
    full_size : int or None
        Rows of the whole set, if ``shape`` is a part of it; a file may hold either.
    extras : tuple of str
        Further arrays of the file, one entry a row.
    note : str
        What to beware of.
    """

    title: str
    task: str
    target: str
    shape: tuple
    source: str
    features: str = ""
    classes: tuple = ()
    sha256: str | None = None
    openml: OpenMLSource | None = None
    full_size: int | None = None
    extras: tuple = ()
    note: str = ""

    @property
    def feature_names(self):
        """Names of the columns, a list."""
        return self.features.split() or [f"x{number}" for number in range(self.shape[1])]


def _numbered(stem, last):
    return " ".join(f"{stem}{number}" for number in range(1, last + 1))


_ORDERED = "Rows are in an order that says much about the target: shuffle before splitting."

CATALOGUE = {
    "boston": DataSet(
        "Boston housing: median value of homes, in thousands of dollars",
        REGRESSION,
        "MEDV",
        (506, 13),
        "StatLib; Harrison and Rubinfeld, 1978",
        "CRIM ZN INDUS CHAS NOX RM AGE DIS RAD TAX PTRATIO B LSTAT",
        sha256="98956d708977678ed74525cc7712f49fe47e8ee1c1967ef6a5b97a8680335555",
        openml=OpenMLSource(531, "MEDV"),
        note=f"{_ORDERED} Column B is built on race, and targets are capped at 50: of use for "
        "comparing with published figures only.",
    ),
    "energy": DataSet(
        "Energy efficiency of buildings: heating load",
        REGRESSION,
        "heating_load",
        (768, 8),
        "UCI 242; Tsanas and Xifara, 2012",
        "relative_compactness surface_area wall_area roof_area overall_height orientation "
        "glazing_area glazing_area_distribution",
        sha256="d8fecc04104ff37b5881727d5841b34a4bbe98586b1eb8d799a8e4a01d1ad066",
        openml=OpenMLSource(44960, "heating_load"),
        note=f"{_ORDERED} The cooling load, a second target, is left out.",
    ),
    "yacht": DataSet(
        "Yacht hydrodynamics: residuary resistance of hulls",
        REGRESSION,
        "residuary_resistance",
        (308, 6),
        "UCI 243; Gerritsma, Onnink, Versluis, 1981",
        "buoyancy_position prismatic_coefficient length_displacement_ratio "
        "beam_draught_ratio length_beam_ratio froude_number",
        sha256="b81d86e378e3ef50475c073a744909914bae92356c98e3451e2c6626ebf4c09d",
        note=_ORDERED,
    ),
    "concrete": DataSet(
        "Concrete compressive strength",
        REGRESSION,
        "strength",
        (1030, 8),
        "UCI 165; Yeh, 1998",
        "cement blast_furnace_slag fly_ash water superplasticizer coarse_aggregate "
        "fine_aggregate age",
        openml=OpenMLSource(44959, "strength"),
    ),
    "powerplant": DataSet(
        "Combined cycle power plant: hourly electrical output",
        REGRESSION,
        "PE",
        (9568, 4),
        "UCI 294; Tüfekci, 2014",
        "AT V AP RH",
        sha256="8ecd3de68413ff0282501c07dca43a5884de9d4af7cf77f61c7169e10a986e91",
    ),
    "protein": DataSet(
        "Physicochemical properties of protein tertiary structure (CASP): RMSD",
        REGRESSION,
        "RMSD",
        (45730, 9),
        "UCI 265; Rana, 2013",
        _numbered("F", 9),
        sha256="22ede4b9cb6da856e9ea2e8e1ed444c2a7892cd0f189527fde1400df9ac0b7bf",
        openml=OpenMLSource(44963, "RMSD"),
        note="1711 rows are repeated.",
    ),
    "naval": DataSet(
        "Naval propulsion plants: decay of the gas turbine's compressor",
        REGRESSION,
        "compressor_decay",
        (11934, 16),
        "UCI 316; Coraddu et al., 2014",
        "lever_position ship_speed shaft_torque turbine_revolutions generator_revolutions "
        "starboard_torque port_torque turbine_exit_temperature compressor_inlet_temperature "
        "compressor_outlet_temperature turbine_exit_pressure compressor_inlet_pressure "
        "compressor_outlet_pressure exhaust_pressure injection_control fuel_flow",
        sha256="9b3a65436839eff03f099c93af2a053ccf9cf10990f2e0f6b63e9c447a327704",
        note=f"{_ORDERED} Columns 8 and 11 are constant. The decay of the turbine, a second "
        "target, is left out.",
    ),
    "kin8nm": DataSet(
        "Kinematics of a robot arm with eight links: distance from a target",
        REGRESSION,
        "y",
        (8192, 8),
        "Delve; Ghahramani, 1996",
        _numbered("theta", 8),
        openml=OpenMLSource(189, "y"),
    ),
    "wine": DataSet(
        "Red wine: quality, a grade from 3 to 8",
        REGRESSION,
        "quality",
        (1599, 11),
        "UCI 186; Cortez et al., 2009",
        "fixed_acidity volatile_acidity citric_acid residual_sugar chlorides "
        "free_sulfur_dioxide total_sulfur_dioxide density pH sulphates alcohol",
        openml=OpenMLSource(44972, "quality"),
    ),
    "airfoil": DataSet(
        "Airfoil self-noise: sound pressure level, in decibels",
        REGRESSION,
        "sound_pressure",
        (1503, 5),
        "UCI 291; Brooks, Pope, Marcolini, 1989",
        "frequency angle_of_attack chord_length free_stream_velocity displacement_thickness",
        sha256="9d8c0986de170768a716d00b3a658d6118558864b1af3600937442ab28522a91",
        openml=OpenMLSource(44957, "sound_pressure"),
        note=_ORDERED,
    ),
    "eeg": DataSet(
        "EEG eye state: eyes open (0) or closed (1)",
        CLASSIFICATION,
        "eye_detection",
        (14980, 14),
        "UCI 264; Roesler, 2013",
        "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4",
        ("0", "1"),
        sha256="a541f15c19f89a28329309d7aa778bcd3b8f7391502bb9174e62f382bb6b82e3",
        openml=OpenMLSource(1471, "Class"),
        note="One recording, in order of time: a random split puts neighbours on both sides. Four "
        "rows hold spikes up to 7e5, which rule the standard deviation of their columns.",
    ),
    "mocap": DataSet(
        "Motion capture of hand postures",
        CLASSIFICATION,
        "class",
        (11022, 36),
        "UCI 405; Gardner et al., 2014",
        " ".join(f"{axis}{marker}" for marker, axis in product(range(12), "XYZ")),
        ("1", "2", "3"),
        sha256="6ad6f99802feb551df846c78383d8c9cd4dbf919d26bcae83e11278b23755f96",
        extras=("user",),
        note="A part: users 0 to 2 and classes 1 to 3, of 14 and 5. Missing markers are 0. "
        "Frames of a user are near copies: leave one ``user`` out for a harder test.",
    ),
    "miniboo": DataSet(
        "MiniBooNE particle identification: signal (0) or background (1)",
        CLASSIFICATION,
        "background",
        (5044, 50),
        "UCI 199; Roe et al., 2005",
        classes=("0", "1"),
        sha256="0fdfde1da6cf599e03b1d65199e1da3eca324c9f64d8f2dbc79bb177b4f28382",
        openml=OpenMLSource(41150, "signal", labels=("True", "False")),
        full_size=130064,
        note="The file is a random part with standardised columns, OpenML the whole, in its own "
        "units. Sorted by class: shuffle before splitting. Some rows hold -999 throughout.",
    ),
    "credit": DataSet(
        "Default of credit card clients: payment next month missed (1) or not (0)",
        CLASSIFICATION,
        "default",
        (30000, 23),
        "UCI 350; Yeh and Lien, 2009",
        "LIMIT_BAL SEX EDUCATION MARRIAGE AGE PAY_0 PAY_2 PAY_3 PAY_4 PAY_5 PAY_6 "
        f"{_numbered('BILL_AMT', 6)} {_numbered('PAY_AMT', 6)}",
        ("0", "1"),
        sha256="7efc0b7a4af113e888437deee315f6bd977ff6fafa3075f40db62c5bbd29e96c",
        openml=OpenMLSource(42477, "y"),
        note="Categories are left as numbers.",
    ),
    "german": DataSet(
        "German credit, numeric version: good (1) or bad (2) risk",
        CLASSIFICATION,
        "risk",
        (1000, 24),
        "UCI 144; Hofmann, 1994",
        classes=("1", "2"),
        sha256="243646356bde4a23b74bca98595afdcb8d27edcc3c96af29efe99f2e458101a4",
        note="OpenML's credit-g is another version, with 20 columns of which most are categories.",
    ),
    "letter": DataSet(
        "Letter recognition: capital letters in 20 fonts",
        CLASSIFICATION,
        "letter",
        (20000, 16),
        "UCI 59; Frey and Slate, 1991",
        "x-box y-box width high onpix x-bar y-bar x2bar y2bar xybar x2ybr xy2br x-ege xegvy "
        "y-ege yegvx",
        tuple(ascii_uppercase),
        openml=OpenMLSource(6, "class"),
    ),
    "magic": DataSet(
        "MAGIC gamma telescope: gamma ray (g) or hadron (h)",
        CLASSIFICATION,
        "class",
        (19020, 10),
        "UCI 159; Bock et al., 2004",
        "fLength fWidth fSize fConc fConc1 fAsym fM3Long fM3Trans fAlpha fDist",
        ("g", "h"),
        openml=OpenMLSource(1120),
        note="Sorted by class: shuffle before splitting.",
    ),
    "spam": DataSet(
        "Spambase: electronic mail that is spam (1) or not (0)",
        CLASSIFICATION,
        "class",
        (4601, 57),
        "UCI 94; Hopkins et al., 1999",
        classes=("0", "1"),
        openml=OpenMLSource(44, "class"),
        note="Sorted by class: shuffle before splitting.",
    ),
    "mnist": DataSet(
        "MNIST handwritten digits",
        CLASSIFICATION,
        "digit",
        (70000, 784),
        "LeCun, Cortes, Burges, 1998",
        _numbered("pixel", 784),
        tuple("0123456789"),
        sha256="06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64",
        openml=OpenMLSource(554, "class"),
        note="Rows 0 to 59999 are the training set, the other 10000 the test set. Bytes, not "
        "floats.",
    ),
}
